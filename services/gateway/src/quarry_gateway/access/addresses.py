"""Where a request comes from: the peer, or whom a trusted proxy names."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_HOPS: Final = 32
"""Entries of a header that are looked at; no chain of proxies is longer."""
MAX_LENGTH: Final = 64
"""Of an entry that may be an address, with its port."""

_MAPPED_BITS: Final = 96
"""Of an IPv6 network whose addresses are those of IPv4."""
# The parts between semicolons and commas outside quotation marks; only `for` matters.
_FORWARDED = re.compile(rb'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;,"\s]*))\s*(?=;|$)', re.IGNORECASE)
_PORT = re.compile(r"\[([^\]]*)\](?::[0-9_a-z.-]+)?|([0-9.]+):[0-9_a-z.-]+", re.IGNORECASE)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks in `text`: addresses and CIDR blocks, separated by commas. Raises `ValueError`."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(
    client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]
) -> Address | None:
    """Return the address of who sent a request; None when not even the peer has one (a Unix socket).

    `client` and `headers` are those of the ASGI scope. A header is believed only as far as trusted proxies
    wrote it: from the right, up to the first entry that is none of theirs. Where that is no address, the peer
    counts; where all are proxies, the farthest of them.
    """
    peer = _address(client[0]) if client is not None else None
    if peer is None or not trusted or not _is_in(peer, trusted):
        return peer
    farthest = peer
    for entry in _entries(headers):
        named = _address(entry) if len(entry) <= MAX_LENGTH else None
        if named is None:
            return peer
        if not _is_in(named, trusted):
            return named
        farthest = named
    return farthest


def within(address: Address | None, networks: tuple[str, ...]) -> bool:
    """Return whether `address` is in one of the CIDR blocks; a text that is none holds nothing."""
    return address is not None and _is_in(address, _networks(networks))


def _entries(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return whom the proxies name, the nearest first.

    Both headers are never mixed: a proxy appends to one of them, and passes on what it finds in the other.
    """
    found: dict[bytes, list[bytes]] = {b"x-forwarded-for": [], b"forwarded": []}
    for name, value in headers:
        if name in found:
            found[name].append(value)
    if lines := found[b"x-forwarded-for"]:
        return [entry.decode("latin-1") for entry in _last(lines)]
    return [_named(entry) for entry in _last(found[b"forwarded"])]


def _last(lines: Sequence[bytes]) -> list[bytes]:
    entries = b",".join(lines).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
    return [entry.strip() for entry in reversed(entries)] if lines else []


def _named(element: bytes) -> str:
    """Return the node that an element of `Forwarded` (RFC 7239) names; empty when it names none."""
    match = _FORWARDED.search(element)
    return (match[1] or match[2] or b"").decode("latin-1") if match else ""


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    match = _PORT.fullmatch(text)
    if match:
        text = match[1] or match[2] or ""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    found = []
    for text in texts:
        try:
            found.append(_network(text))
        except ValueError:
            continue
    return tuple(found)


def _network(text: str) -> Network:
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
