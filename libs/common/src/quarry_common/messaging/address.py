"""Addresses of NATS servers: `nats://` and `tls://`, taken apart and checked."""

from urllib.parse import urlsplit

import msgspec


class Servers(msgspec.Struct, frozen=True):
    """What NATS_URL names."""

    urls: tuple[str, ...]
    tls: bool
    """Whether no connection may be without TLS."""
    login: bool
    """Whether a user, a password or a token stands in an address."""


def parse(text: str) -> Servers:
    """Return the servers of `text`, separated by commas.

    Raises `ValueError`, whose text holds no part of `text`.
    """
    urls = tuple(_with_scheme(part.strip()) for part in text.split(",") if part.strip())
    if not urls:
        raise ValueError("must name a server, such as `nats://HOST:4222` or `tls://HOST:4222`")
    schemes, login = set(), False
    for url in urls:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.scheme not in {"nats", "tls"}:
            raise ValueError("must be `nats://HOST:PORT` or `tls://HOST:PORT` (TLS), separated by commas")
        schemes.add(parts.scheme)
        login = login or "@" in parts.netloc
    if len(schemes) > 1:
        raise ValueError("must not mix `nats://` and `tls://`: the servers of one cluster do the same")
    return Servers(urls, tls="tls" in schemes, login=login)


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"nats://{url}"
