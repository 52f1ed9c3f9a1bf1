"""Redis addresses: `redis://`, `rediss://` and `redis+sentinel://`, taken apart and checked."""

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

SENTINEL_PORT = 26379
_PLAIN = frozenset({"redis", "rediss"})
_SENTINEL = frozenset({"redis+sentinel", "rediss+sentinel"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})


class SentinelAddress(msgspec.Struct, frozen=True):
    """A master that Sentinels know by the name `service`."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    sentinel_username: str | None = None
    sentinel_password: str | None = None


def parse(url: str) -> str | SentinelAddress:
    """Return `url` itself for a server, or what a Sentinel address names:
    `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB?sentinel_password=…`.

    User and password are those of the Redis servers. Raises `ValueError`, whose text holds no part of `url`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("cannot be read as an address") from None
    if parts.scheme in _PLAIN:
        return _server(url, parts)
    if parts.scheme in _SENTINEL:
        return _sentinel(parts)
    raise ValueError(
        "must begin with `redis://`, `rediss://` (TLS), `redis+sentinel://` or `rediss+sentinel://` (TLS)"
    )


def uses_tls(url: str) -> bool:
    """Whether no connection to what `url` names may be without TLS."""
    return url.startswith("rediss")


def has_password(url: str) -> bool:
    """Whether `url` holds the password of the Redis servers."""
    address = parse(url)
    if isinstance(address, SentinelAddress):
        return address.password is not None
    parts = urlsplit(address)
    return bool(parts.password) or "password" in parse_qs(parts.query)


def _server(url: str, parts: SplitResult) -> str:
    try:
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _is_db(parts.path.strip("/")):
        raise ValueError("must be `redis://USER:PASSWORD@HOST:PORT/DB`, with a number for DB")
    if any(option.startswith("ssl") for option in parse_qs(parts.query)):
        # Among them is what turns the verification of certificates off.
        raise ValueError("must not have options of TLS: REDIS_CA_FILE, REDIS_CERT_FILE and REDIS_KEY_FILE do")
    return url


def _sentinel(parts: SplitResult) -> SentinelAddress:
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    sentinels = tuple(_host(text) for text in hosts.split(",") if text)
    options = parse_qs(parts.query)
    if not sentinels or not service or not _is_db(db) or not options.keys() <= _SENTINEL_OPTIONS:
        raise ValueError("must be `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB`")
    return SentinelAddress(
        sentinels=sentinels,
        service=unquote(service),
        db=int(db or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=parts.scheme.startswith("rediss"),
        sentinel_username=_option(options, "sentinel_username"),
        sentinel_password=_option(options, "sentinel_password"),
    )


def _host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        raise ValueError("has a Sentinel whose port is not a number below 65536") from None
    if not parts.hostname or port == 0:
        raise ValueError("has a Sentinel without a host, or with port 0")
    return parts.hostname, port or SENTINEL_PORT


def _option(options: Mapping[str, list[str]], name: str) -> str | None:
    return options[name][0] if name in options else None


def _is_db(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())
