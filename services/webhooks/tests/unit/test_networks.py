"""Which addresses deliveries may reach."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_webhooks.egress.networks import FORBIDDEN, embedded, forbidden, parse_networks

FORBIDDEN_ADDRESSES = [
    ("0.0.0.0", "this host"),
    ("0.1.2.3", "this host"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "carrier"),
    ("100.100.100.200", "carrier"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "platform"),
    ("169.254.169.254", "link-local"),
    ("169.254.170.2", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.192", "protocols"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("192.168.0.1", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.9", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::8.8.8.8", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "IPv4-mapped"),
    ("::ffff:8.8.8.8", "IPv4-mapped"),
    ("::ffff:0:127.0.0.1", "IPv4-translated"),
    ("64:ff9b::7f00:1", "NAT64"),
    ("64:ff9b::808:808", "NAT64"),
    ("64:ff9b:1::a00:1", "NAT64"),
    ("100::1", "discard"),
    ("2001::1", "Teredo"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "ORCHID"),
    ("2001:20::1", "ORCHID"),
    ("2001:1::1", "protocols"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::1", "6to4"),
    ("2002:808:808::1", "6to4"),
    ("2606:4700::5efe:7f00:1", "loopback"),
    ("2606:4700::200:5efe:a9fe:a9fe", "link-local"),
    ("3fff::1", "documentation"),
    ("5f00::1", "segment routing"),
    ("4000::1", "reserved"),
    ("a000::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN_ADDRESSES)
def test_a_special_address_is_forbidden_and_told_by_its_kind(address: str, kind: str) -> None:
    assert kind in str(forbidden(ip_address(address)))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "198.17.255.255",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450::1",
    ],
)
def test_a_public_address_is_permitted(address: str) -> None:
    assert forbidden(ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_permitted_that_is_not_global(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert forbidden(address)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_permitted_that_is_not_global_unicast(address: IPv6Address) -> None:
    if not address.is_global or address not in ip_network("2000::/3"):
        assert forbidden(address)


@given(st.data())
def test_all_of_a_forbidden_network_is_forbidden(data: st.DataObject) -> None:
    network, _kind = data.draw(st.sampled_from(FORBIDDEN))
    last = network.num_addresses - 1

    assert forbidden(network[data.draw(st.sampled_from([0, last]) | st.integers(0, last))])


CARRIERS = ["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::"]


@given(st.sampled_from(CARRIERS), st.integers(2, 2**32 - 1))
def test_an_ipv4_address_in_the_low_bits_is_found(prefix: str, bits: int) -> None:
    assert IPv4Address(bits) in set(embedded(IPv6Address(int(IPv6Address(prefix)) | bits)))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_of_6to4_and_teredo_is_found(address: IPv4Address) -> None:
    sixtofour = IPv6Address((0x2002 << 112) | (int(address) << 80) | 1)
    teredo = IPv6Address((0x2001_0000 << 96) | (0x0808_0808 << 64) | (int(address) ^ 0xFFFF_FFFF))

    assert address in set(embedded(sixtofour))
    assert address in set(embedded(teredo))


def test_the_operator_allows_networks() -> None:
    allowed = parse_networks("127.0.0.0/8, ::1/128,10.1.0.0/16")

    assert forbidden(ip_address("127.0.0.1"), allowed) is None
    assert forbidden(ip_address("::1"), allowed) is None
    assert forbidden(ip_address("10.1.2.3"), allowed) is None
    assert forbidden(ip_address("10.2.0.1"), allowed) == "private"
    assert forbidden(ip_address("::ffff:127.0.0.1"), allowed) == "IPv4-mapped"


def test_who_allows_a_translator_does_not_allow_what_is_private_behind_it() -> None:
    allowed = parse_networks("64:ff9b::/96,2002::/16")

    assert forbidden(ip_address("64:ff9b::808:808"), allowed) is None
    assert forbidden(ip_address("64:ff9b::7f00:1"), allowed) == "loopback"
    assert forbidden(ip_address("64:ff9b::a9fe:a9fe"), allowed) == "link-local"
    assert forbidden(ip_address("2002:a00:1::1"), allowed) == "private"


def test_networks_are_a_comma_list() -> None:
    assert parse_networks("") == ()
    assert parse_networks(" ::1/128 ,10.0.0.0/8,") == (IPv6Network("::1/128"), IPv4Network("10.0.0.0/8"))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "loopback", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_networks(text)
