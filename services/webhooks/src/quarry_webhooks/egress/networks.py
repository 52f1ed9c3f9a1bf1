"""Networks that deliveries may not reach.

The list is explicit: `ipaddress.is_global` holds for NAT64, 6to4 and multicast addresses, behind which there
may be anything. It follows the special-purpose registries of IANA for IPv4 and IPv6, and goes beyond them
where a forbidden IPv4 address could be written inside of an IPv6 address.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORBIDDEN_4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's platform",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "reserved for AS112",
    "192.52.193.0/24": "reserved for multicast tunnels",
    "192.88.99.0/24": "reserved for 6to4 relays",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "reserved for AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved or broadcast",
}

_FORBIDDEN_6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "IPv4-compatible",
    "::ffff:0:0/96": "IPv4-mapped",
    "::ffff:0:0:0/96": "IPv4-translated",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64",
    "100::/64": "discard",
    "100:0:0:1::/64": "reserved",
    "2001::/32": "Teredo",
    "2001:2::/48": "benchmarking",
    "2001:10::/28": "ORCHID",
    "2001:20::/28": "ORCHID",
    "2001::/23": "reserved for protocols",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "reserved for AS112",
    "3ffe::/16": "reserved",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
    # What is left outside of 2000::/3, the only part that is handed out.
    "::/3": "reserved",
    "4000::/2": "reserved",
    "8000::/1": "reserved",
}

FORBIDDEN: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind) for text, kind in (_FORBIDDEN_4 | _FORBIDDEN_6).items()
)
"""Each network and what it is, the narrower before the wider."""

_LOW_32 = 0xFFFF_FFFF
_IPV4_IN_LOW_BITS = tuple(
    IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/96")
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma list, such as `127.0.0.0/8, ::1/128`.

    Raises `ValueError` when one is no network, or has bits set outside of its mask.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def forbidden(address: Address, allowed: Iterable[Network] = ()) -> str | None:
    """Return what kind of forbidden address this is, or None when deliveries may reach it.

    An address in `allowed` may be reached. An IPv6 address that carries an IPv4 address must be permitted
    itself and so must what it carries: who allows NAT64 does not allow loopback behind it.
    """
    allowed = tuple(allowed)
    if not _within(address, allowed):
        for network, kind in FORBIDDEN:
            if network.version == address.version and address in network:
                return kind
    if isinstance(address, IPv6Address):
        for carried in embedded(address):
            if kind_carried := forbidden(carried, allowed):
                return kind_carried
    return None


def embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that packets to an IPv6 address may be handed on to."""
    bits = int(address)
    if any(address in network for network in _IPV4_IN_LOW_BITS) and bits > 1:
        yield IPv4Address(bits & _LOW_32)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (bits >> 32) & _LOW_32 in _ISATAP:
        yield IPv4Address(bits & _LOW_32)


def parse_address(text: str) -> Address:
    """Return an address as a resolver gives it; a zone (`%eth0`) is kept. Raises `ValueError`."""
    return ip_address(text)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(network.version == address.version and address in network for network in networks)
