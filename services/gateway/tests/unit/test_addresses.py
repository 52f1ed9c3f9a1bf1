"""Whose address a request has, whatever its headers claim."""

from ipaddress import ip_address

import pytest

from quarry_gateway.access.addresses import MAX_HOPS, client_address, parse_networks, within
from quarry_gateway.settings import GatewaySettings

PROXIES = parse_networks("10.0.0.0/8, 192.168.1.1, fd00::/8")


def address(peer: str | None, *headers: tuple[str, str], trusted: bool = True) -> str:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    client = None if peer is None else (peer, 4711)
    return str(client_address(client, raw, PROXIES if trusted else ()))


def forwarded_for(peer: str, *values: str) -> str:
    return address(peer, *(("X-Forwarded-For", value) for value in values))


def test_without_trusted_proxies_the_peer_counts() -> None:
    assert address("10.0.0.1", ("X-Forwarded-For", "203.0.113.7"), trusted=False) == "10.0.0.1"


def test_a_peer_that_is_no_proxy_is_not_believed() -> None:
    assert forwarded_for("198.51.100.1", "203.0.113.7") == "198.51.100.1"


def test_a_proxy_is_believed() -> None:
    assert forwarded_for("10.0.0.1", "203.0.113.7") == "203.0.113.7"
    assert forwarded_for("::ffff:10.0.0.1", "2001:db8::7") == "2001:db8::7"


def test_what_a_client_wrote_itself_is_not_believed() -> None:
    assert forwarded_for("10.0.0.1", "1.1.1.1, 10.0.0.9, 203.0.113.7") == "203.0.113.7"
    assert forwarded_for("10.0.0.1", "1.1.1.1", "203.0.113.7, 10.0.0.2") == "203.0.113.7"
    assert forwarded_for("10.0.0.1", "what ever;,", "203.0.113.7") == "203.0.113.7"


def test_a_chain_of_proxies_is_walked_from_the_right() -> None:
    assert forwarded_for("10.0.0.1", "203.0.113.7, fd00::5, 192.168.1.1") == "203.0.113.7"


def test_a_chain_of_proxies_alone_ends_at_the_farthest() -> None:
    assert forwarded_for("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"


@pytest.mark.parametrize(
    "value",
    ["", ",", "unknown", "203.0.113.300", "203.0.113.7 ,", "::ffff:", "01.2.3.4", "\xb2.2.3.4", "1" * 5000],
)
def test_what_is_no_address_leaves_the_peer(value: str) -> None:
    assert forwarded_for("10.0.0.1", value) == "10.0.0.1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("203.0.113.7:8080", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_addresses_are_brought_to_one_form(value: str, expected: str) -> None:
    assert forwarded_for("10.0.0.1", value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7"),
        ('proto=http; For="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=1.1.1.1, for=203.0.113.7, for=10.0.0.2", "203.0.113.7"),
        ('for="1.1.1.1, for=203.0.113.7', "203.0.113.7"),
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden", "10.0.0.1"),
        ("by=203.0.113.7", "10.0.0.1"),
        ("proto=http;xfor=203.0.113.7", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read(value: str, expected: str) -> None:
    assert address("10.0.0.1", ("Forwarded", value)) == expected


def test_the_header_that_proxies_write_outweighs_the_one_that_they_pass_on() -> None:
    headers = [("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "203.0.113.7")]

    assert address("10.0.0.1", *headers) == "203.0.113.7"


def test_a_header_without_end_is_not_walked_to_its_end() -> None:
    chain = ", ".join(["203.0.113.7"] + [f"10.0.0.{number % 250}" for number in range(MAX_HOPS + 8)])

    assert forwarded_for("10.0.0.1", chain).startswith("10.0.0.")


def test_a_peer_without_an_address_has_none() -> None:
    assert address(None, ("X-Forwarded-For", "203.0.113.7")) == "None"
    assert address("unix:/run/quarry", ("X-Forwarded-For", "203.0.113.7")) == "None"


@pytest.mark.parametrize(
    ("text", "networks", "inside"),
    [
        ("203.0.113.7", ("203.0.113.0/24",), True),
        ("203.0.114.7", ("203.0.113.0/24",), False),
        ("203.0.113.7", ("2001:db8::/32", "203.0.113.7"), True),
        ("203.0.113.7", ("203.0.113.99/24",), True),
        ("203.0.113.7", ("::ffff:203.0.113.0/120",), True),
        ("2001:db8::7", ("2001:db8::/32",), True),
        ("203.0.113.7", ("::/0",), False),
        ("203.0.113.7", ("nonsense",), False),
        ("203.0.113.7", (), False),
    ],
)
def test_an_address_is_within_the_blocks_of_a_key(text: str, networks: tuple[str, ...], inside: bool) -> None:
    assert within(ip_address(text), networks) is inside


def test_who_has_no_address_is_within_no_block() -> None:
    assert not within(None, ("0.0.0.0/0", "::/0"))


def test_proxies_that_are_no_networks_are_refused_at_the_start() -> None:
    assert GatewaySettings(trusted_proxies="10.0.0.0/8,fd00::1").trusted_proxies

    with pytest.raises(ValueError, match=r"10\.0\.0"):
        GatewaySettings(trusted_proxies="10.0.0.0/99")
