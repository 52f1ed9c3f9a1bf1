"""TLS to other servers: version 1.2 at least, certificate and host name always verified.

Nothing turns that off: a server whose certificate does not hold is not used.
"""

import ssl
from pathlib import Path

import msgspec

_OF_ANOTHER_HOST = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_ABOUT_OUR_CERTIFICATE = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")


class Fault(msgspec.Struct, frozen=True):
    """Why there is no TLS with a server, and which setting to mend."""

    detail: str
    advice: str


def context(ca_file: str = "", cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Return what connects to servers that the authorities in `ca_file` vouch for: the system's when empty.

    `cert_file` is shown to servers that ask for a certificate, and `key_file` proves it; all three are PEM.
    Raises `OSError` or `ValueError` when a file cannot be used.
    """
    made = ssl.create_default_context(cafile=ca_file or None)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file:
        made.load_cert_chain(cert_file, key_file, password=_refuse_encrypted)
    return made


def require_certificates(path: str) -> None:
    """Raise `ValueError`, in words that go on from a setting's name, unless `path` holds PEM certificates."""
    _require_readable(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("holds no certificate in PEM") from None


def require_pair(cert_file: str, key_file: str, cert_setting: str) -> None:
    """Raise `ValueError`, in words that go on from the key's setting, unless the key is the certificate's."""
    _require_readable(key_file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert_file, key_file, _refuse_encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"is not the key of the certificate in {cert_setting}") from None
        raise ValueError("holds no private key in PEM") from None


def fault(error: BaseException, server: str, url: str, files: str) -> Fault | None:
    """Return what is wrong with TLS when that is why a connection failed.

    `server` begins the sentence, `url` is the setting that names the server, and `files` is how those begin
    that name certificates, such as `NATS` in NATS_CA_FILE.
    """
    found = _tls_error(error)
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        why = found.verify_message.rstrip(".")
        if found.verify_code in _OF_ANOTHER_HOST:
            return Fault(
                f"{server} has a certificate for another host: {why}.",
                f"Correct the host in {url}, or give the server a certificate for that host.",
            )
        return Fault(
            f"{server} has a certificate that is not trusted: {why}.",
            f"Name the authority that issued it in {files}_CA_FILE, or renew the certificate.",
        )
    # One that Python itself raised has no reason.
    reason = getattr(found, "reason", None) or "the handshake failed"
    if "ALERT" in reason and any(part in reason for part in _ABOUT_OUR_CERTIFICATE):
        return Fault(
            f"{server} asks for a certificate of ours that it trusts ({reason}).",
            f"Name it in {files}_CERT_FILE and its key in {files}_KEY_FILE.",
        )
    return Fault(
        f"{server} does not agree on TLS ({reason}).",
        f"Correct the port in {url}; the server has to speak TLS 1.2 or later there.",
    )


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of TLS that `error` is or came from; drivers wrap it, each in its way.

    The innermost: aiohttp's own is one by its type and lacks the fields.
    """
    found = None
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLError):
            found = error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return found


def _require_readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _refuse_encrypted() -> str:
    # Without this OpenSSL would ask for the passphrase on the terminal, and wait.
    raise ValueError("is encrypted: give a key without a passphrase that only its owner may read")
