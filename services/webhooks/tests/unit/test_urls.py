"""Which URLs an endpoint may have."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_webhooks.egress.networks import parse_networks
from quarry_webhooks.egress.urls import OTHER_PROTOCOLS, Policy, UrlNotPermittedError, permitted

STRICT = Policy()
LOCAL = Policy(parse_networks("127.0.0.0/8,::1/128"), allow_http=True)
FOUR_NUMBERS = "four decimal numbers"
FORM = "no URL of a scheme, a host and a path"

REFUSED = [
    # schemes
    ("http://acme.example/", "The scheme is https"),
    ("ftp://acme.example/", "The scheme is https"),
    ("file:///etc/passwd", "The scheme is https"),
    ("gopher://acme.example/", "The scheme is https"),
    ("javascript:alert(1)", "The scheme is https"),
    ("//acme.example/", "The scheme is https"),
    ("acme.example/hooks", "The scheme is https"),
    ("", "The scheme is https"),
    # the form
    ("https://", "no host"),
    ("https:///hooks", "no host"),
    ("https:acme.example", "no host"),
    ("https://:443/", "no host"),
    ("https://[::1", FORM),
    ("https://[v1.x]/", FORM),
    ("https://[acme.example]/", FORM),
    ("https://acme.example:http/", FORM),
    ("https://acme.example:-1/", FORM),
    ("https://acme.example:+443/", FORM),
    ("https://acme.example:443:80/", FORM),
    ("https://acme.example/#part", "fragment"),
    ("https://acme.example/#", "fragment"),
    ("https://acme.example/a b", "spaces"),
    (" https://acme.example/", "spaces"),
    ("https://acme.example/\r\nX-Injected: 1", "control characters"),
    ("https://acme.example\t/", "control characters"),
    ("https://acme.example\x00/", "control characters"),
    ("https://acme.example\\@127.0.0.1/", "backslashes"),
    ("https://acme.example/\udc80", "characters"),
    ("https://acme.example/" + "a" * 2_048, "at most 2048"),
    # users
    ("https://user@acme.example/", "no user or password"),
    ("https://user:password@acme.example/", "no user or password"),
    ("https://acme.example@127.0.0.1/", "no user or password"),
    ("https://@acme.example/", "no user or password"),
    ("https://127.0.0.1:80@acme.example/", "no user or password"),
    # names
    ("https://-acme.example/", "name of the DNS"),
    ("https://acme..example/", "name of the DNS"),
    ("https://acme.example../", "name of the DNS"),
    ("https://a,b.example/", "name of the DNS"),
    ("https://acme%2eexample/", "name of the DNS"),
    ("https://" + "a" * 64 + ".example/", ""),
    ("https://" + "a." * 127 + "example/", ""),
    # addresses in other forms
    ("https://2130706433/", FOUR_NUMBERS),
    ("https://017700000001/", FOUR_NUMBERS),
    ("https://0x7f000001/", FOUR_NUMBERS),
    ("https://0x7f.1/", FOUR_NUMBERS),
    ("https://127.1/", FOUR_NUMBERS),
    ("https://127.0.1/", FOUR_NUMBERS),
    ("https://0177.0.0.1/", FOUR_NUMBERS),
    ("https://0x7f.0.0.0x1/", FOUR_NUMBERS),
    ("https://127.0.0.01/", FOUR_NUMBERS),
    ("https://127.0.0.256/", FOUR_NUMBERS),
    ("https://0/", FOUR_NUMBERS),
    ("https://0x/", FOUR_NUMBERS),
    ("https://acme.0x7f/", FOUR_NUMBERS),
    ("https://%31%32%37.0.0.1/", FOUR_NUMBERS),
    ("https://\uff11\uff12\uff17.\uff11/", FOUR_NUMBERS),
    # addresses
    ("https://127.0.0.1/", "loopback"),
    ("https://127.0.0.1./", "loopback"),
    ("https://\uff11\uff12\uff17.0.0.1/", "loopback"),
    ("https://127\u30020\u30020\u30021/", "loopback"),
    ("https://\u2460\u2461\u2466.0.0.1/", "loopback"),
    ("https://0.0.0.0/", "this host"),
    ("https://169.254.169.254/latest/meta-data/", "link-local"),
    ("https://10.0.0.1/", "private"),
    ("https://[::1]/", "loopback"),
    ("https://[0:0:0:0:0:0:0:1]/", "loopback"),
    ("https://[::]/", "unspecified"),
    ("https://[::ffff:127.0.0.1]/", "IPv4-mapped"),
    ("https://[::ffff:7f00:1]/", "IPv4-mapped"),
    ("https://[64:ff9b::7f00:1]/", "NAT64"),
    ("https://[2002:7f00:1::]/", "6to4"),
    ("https://[fd00:ec2::254]/", "private"),
    ("https://[fe80::1%25eth0]/", "zone"),
    ("https://[fe80::1%eth0]/", "zone"),
    # ports
    ("https://acme.example:0/", "1 to 65535"),
    ("https://acme.example:65536/", FORM),
    ("https://acme.example:22/", "another protocol"),
    ("https://acme.example:25/", "another protocol"),
    ("https://acme.example:6667/", "another protocol"),
]


@pytest.mark.parametrize(("url", "words"), REFUSED)
def test_a_url_is_refused_with_what_would_be_right(url: str, words: str) -> None:
    with pytest.raises(UrlNotPermittedError) as caught:
        permitted(url, STRICT)

    assert words in caught.value.data.detail
    assert caught.value.data.detail.endswith(".")
    assert [error.field for error in caught.value.data.errors] == ["url"]


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://acme.example", "acme.example", 443, "/", "acme.example"),
        ("https://acme.example:443/", "acme.example", 443, "/", "acme.example"),
        ("HTTPS://ACME.Example./Hooks", "acme.example", 443, "/Hooks", "acme.example"),
        ("https://acme.example:8443/a?b=c", "acme.example", 8443, "/a?b=c", "acme.example:8443"),
        ("https://acme.example?b", "acme.example", 443, "/?b", "acme.example"),
        ("https://bücher.example/ü", "xn--bcher-kva.example", 443, "/%C3%BC", "xn--bcher-kva.example"),
        ("https://8.8.8.8/", "8.8.8.8", 443, "/", "8.8.8.8"),
        (
            "https://[2606:4700::0:1]:8443/",
            "2606:4700::1",
            8443,
            "/",
            "[2606:4700::1]:8443",
        ),
        ("https://my_host/", "my_host", 443, "/", "my_host"),
    ],
)
def test_a_url_is_permitted(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = permitted(url, STRICT)

    assert (target.scheme, target.host, target.port, target.path) == ("https", host, port, path)
    assert target.authority == authority
    assert (target.address is not None) == (host[0] in "28")


def test_a_path_is_sent_as_it_was_written() -> None:
    written = "/a%2Fb/../c/./%7e?sig=a%2Bb%3d+&x=[1]&y='"

    assert permitted(f"https://acme.example{written}", STRICT).path == written


def test_the_operator_allows_http_and_networks() -> None:
    assert permitted("http://localhost:8080/", LOCAL).port == 8_080
    assert permitted("http://127.0.0.1/", LOCAL).address == ip_address("127.0.0.1")
    assert permitted("http://[::1]/", LOCAL).address == ip_address("::1")
    with pytest.raises(UrlNotPermittedError, match="private"):
        permitted("http://10.0.0.1/", LOCAL)
    with pytest.raises(UrlNotPermittedError, match="https, or http"):
        permitted("ftp://localhost/", LOCAL)


def test_every_port_but_those_of_other_protocols_may_be_used() -> None:
    for port in range(1, 65_536, 7):
        if port not in OTHER_PROTOCOLS:
            assert permitted(f"https://acme.example:{port}/", STRICT).port == port
    assert not {80, 443, 8_000, 8_080, 8_443, 9_000} & OTHER_PROTOCOLS


@given(st.text(max_size=60))
def test_any_text_is_permitted_or_refused(rest: str) -> None:
    for url in (rest, f"https://{rest}", f"http://{rest}"):
        try:
            target = permitted(url, LOCAL)
        except UrlNotPermittedError:
            continue
        line = f"POST {target.path} HTTP/1.1 {target.authority}"
        assert line.isascii()
        assert line.isprintable()
        assert line.count(" ") == 3
