"""Postgres DSNs: what they say of TLS, checked before anything connects."""

from urllib.parse import parse_qs, unquote, urlsplit

from quarry_common import tls

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FORM = "is not an address such as postgresql://user:password@host:5432/database"


def require_usable(dsn: str, files: str, *, verified: bool) -> None:
    """Raise `ValueError` when `dsn` is no address, names certificates that cannot be used, or asks for less
    than the settings that begin with `files`, where the connection shall be `verified` by them.

    Its text goes on from the setting's name and holds no part of `dsn`.
    """
    try:
        parts = urlsplit(dsn)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        usable = parts.scheme in {"postgresql", "postgres"}
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(_FORM)
    mode = options.get("sslmode", "")
    if mode and mode not in MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(MODES)}")
    if verified:
        _require_verified(unquote(parts.netloc), options, files)
        return
    for name in ("sslrootcert", "sslcert"):
        if path := options.get(name):
            try:
                tls.require_certificates(path)
            except ValueError as error:
                raise ValueError(f"names a file in {name} that {error}") from None


def _require_verified(netloc: str, options: dict[str, str], files: str) -> None:
    if options.get("sslmode", "verify-full") != "verify-full":
        raise ValueError(
            f"has an sslmode that verifies less than {files}_CA_FILE and {files}_CERT_FILE ask for: "
            "leave sslmode out, or write verify-full"
        )
    if named := sorted(options.keys() & {"sslrootcert", "sslcert", "sslkey"}):
        raise ValueError(
            f"has {named[0]}, which {files}_CA_FILE, {files}_CERT_FILE and {files}_KEY_FILE replace"
        )
    hosts = netloc.rpartition("@")[2] or options.get("host", "")
    if not hosts or any(host.startswith("/") for host in hosts.split(",")):
        raise ValueError(
            f"names a socket of this machine, which has no TLS: leave {files}_CA_FILE and {files}_CERT_FILE "
            "out"
        )
