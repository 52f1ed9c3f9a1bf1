"""URLs and names that lead to forbidden addresses: no connection is made, and the reason is told."""

from collections.abc import Sequence

import aiohttp
import pytest

from quarry_common import tls
from quarry_common.contracts.webhooks import Outcome
from quarry_webhooks.egress.connecting import Connections
from quarry_webhooks.egress.networks import parse_networks
from quarry_webhooks.egress.resolving import KEEP_SECONDS
from quarry_webhooks.egress.urls import Policy

from .conftest import HTTP_ONLY, QUICK, Names, Receiving, Sending, Trap

NAME = "hooks.acme.example"
FORBIDDEN, UNRESOLVED = Outcome.FORBIDDEN_ADDRESS, Outcome.UNRESOLVED
MAY_NOT = "Deliveries may not go to this address"
FOUR_NUMBERS = "four decimal numbers"
NAME_MAY_NOT = "stands for an address that deliveries may not go to"

URLS = [
    # loopback in every form; {port} is where the trap listens
    ("http://127.0.0.1:{port}/", MAY_NOT),
    ("http://127.0.0.2:{port}/", MAY_NOT),
    ("http://127.0.0.1.:{port}/", MAY_NOT),
    ("http://localhost:{port}/", NAME_MAY_NOT),
    ("http://localhost.:{port}/", NAME_MAY_NOT),
    ("http://LOCALHOST:{port}/", NAME_MAY_NOT),
    ("http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/", NAME_MAY_NOT),
    ("https://localhost:{port}/", NAME_MAY_NOT),
    ("https://127.0.0.1:{port}/", MAY_NOT),
    ("http://2130706433:{port}/", FOUR_NUMBERS),
    ("http://017700000001:{port}/", FOUR_NUMBERS),
    ("http://0x7f000001:{port}/", FOUR_NUMBERS),
    ("http://0X7F000001:{port}/", FOUR_NUMBERS),
    ("http://0x7f.0x0.0x0.0x1:{port}/", FOUR_NUMBERS),
    ("http://0177.0.0.1:{port}/", FOUR_NUMBERS),
    ("http://127.1:{port}/", FOUR_NUMBERS),
    ("http://127.0.1:{port}/", FOUR_NUMBERS),
    ("http://127.0.0.01:{port}/", FOUR_NUMBERS),
    ("http://0:{port}/", FOUR_NUMBERS),
    ("http://0.0.0.0:{port}/", MAY_NOT),
    ("http://\uff11\uff12\uff17.0.0.1:{port}/", MAY_NOT),
    ("http://127\u30020\u30020\u30021:{port}/", MAY_NOT),
    ("http://%31%32%37.0.0.1:{port}/", FOUR_NUMBERS),
    ("http://[::1]:{port}/", MAY_NOT),
    ("http://[0:0:0:0:0:0:0:1]:{port}/", MAY_NOT),
    ("http://[::]:{port}/", MAY_NOT),
    ("http://[::ffff:127.0.0.1]:{port}/", MAY_NOT),
    ("http://[::ffff:7f00:1]:{port}/", MAY_NOT),
    ("http://[::127.0.0.1]:{port}/", MAY_NOT),
    ("http://[::ffff:0:127.0.0.1]:{port}/", MAY_NOT),
    ("http://[64:ff9b::7f00:1]:{port}/", MAY_NOT),
    ("http://[64:ff9b:1::7f00:1]:{port}/", MAY_NOT),
    ("http://[2002:7f00:1::1]:{port}/", MAY_NOT),
    ("http://[2001:0:808:808::80ff:fffe]:{port}/", MAY_NOT),
    ("http://[::1%25lo]:{port}/", "zone"),
    # other networks
    ("http://169.254.169.254/latest/meta-data/", MAY_NOT),
    ("http://[fd00:ec2::254]/latest/meta-data/", MAY_NOT),
    ("http://100.100.100.200/", MAY_NOT),
    ("http://168.63.129.16/", MAY_NOT),
    ("http://10.0.0.1/", MAY_NOT),
    ("http://172.16.0.1/", MAY_NOT),
    ("http://192.168.1.1/", MAY_NOT),
    ("http://224.0.0.1/", MAY_NOT),
    ("http://255.255.255.255/", MAY_NOT),
    ("http://[fe80::1]/", MAY_NOT),
    ("http://[ff02::1]/", MAY_NOT),
    # tricks with the parts of a URL
    ("http://acme.example@127.0.0.1:{port}/", "no user or password"),
    ("http://127.0.0.1:{port}@acme.example/", "no user or password"),
    ("http://127.0.0.1:{port}\\@acme.example/", "backslashes"),
    ("http://acme.example#@127.0.0.1:{port}/", "fragment"),
    ("http://127.0.0.1:{port}#@acme.example/", "fragment"),
    ("http://127.0.0.1:{port}/\r\nHost: acme.example", "control characters"),
    ("http://127.0.0.1\t:{port}/", "control characters"),
    ("http:127.0.0.1:{port}/", ""),
    ("http:///127.0.0.1:{port}/", "no host"),
    ("//127.0.0.1:{port}/", "scheme is https"),
    ("gopher://127.0.0.1:{port}/_POST", "scheme is https"),
    ("file:///etc/passwd", "scheme is https"),
    ("http://127.0.0.1:25/", "another protocol"),
    ("http://[127.0.0.1]:{port}/", "a scheme, a host and a path"),
    ("http://127.0.0.1:{port}:80/", "a scheme, a host and a path"),
    ("http://127.0.0.1:{port}/" + "a" * 2_048, "at most 2048"),
]

ANSWERS: list[Sequence[str]] = [
    ["127.0.0.1"],
    ["::1"],
    ["0.0.0.0"],
    ["::"],
    ["::ffff:127.0.0.1"],
    ["::127.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["2002:7f00:1::"],
    ["10.0.0.5"],
    ["169.254.169.254"],
    ["fd00:ec2::254"],
    ["fe80::1%lo"],
    ["8.8.8.8", "127.0.0.1"],
    ["127.0.0.1", "8.8.8.8"],
    ["2606:4700:4700::1111", "::1"],
    ["1.1.1.1", "8.8.8.8", "9.9.9.9", "1.0.0.1", "127.0.0.1"],
]


@pytest.mark.parametrize(("url", "words"), URLS)
async def test_a_hostile_url_reaches_nothing(url: str, words: str, trap: Trap, sending: Sending) -> None:
    exchange = await sending(HTTP_ONLY).post(url.replace("{port}", str(trap.port)), {}, b"{}")

    assert trap.caught() == 0
    assert exchange.outcome is FORBIDDEN
    assert words in exchange.detail
    assert exchange.detail.endswith(".")
    assert (exchange.status, exchange.headers, exchange.excerpt) == (None, {}, "")


@pytest.mark.parametrize("found", ANSWERS, ids=",".join)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_hostile_name_reaches_nothing(
    scheme: str, found: Sequence[str], trap: Trap, sending: Sending
) -> None:
    sender = sending(HTTP_ONLY, resolver=Names({NAME: [found]}))

    exchange = await sender.post(f"{scheme}://{NAME}:{trap.port}/", {}, b"{}")

    assert trap.caught() == 0
    assert exchange.outcome is FORBIDDEN
    assert NAME_MAY_NOT in exchange.detail
    assert not [address for address in found if address in exchange.detail]


async def test_the_trap_catches_what_is_permitted(trap: Trap, sending: Sending) -> None:
    sender = sending(Policy(parse_networks("127.0.0.1/32,::1/128"), allow_http=True), QUICK)

    for host in ("127.0.0.1", "localhost", "[::1]"):
        await sender.post(f"http://{host}:{trap.port}/", {}, b"{}")
        assert trap.caught() >= 1


async def test_a_name_that_is_rebound_reaches_nothing(
    trap: Trap, sending: Sending, receiving: Receiving
) -> None:
    """127.0.0.2 stands for a public address here: it is permitted, and the others of loopback are not."""
    now = 0.0
    names = Names({NAME: [["127.0.0.2"], ["127.0.0.1"]]})
    policy = Policy(parse_networks("127.0.0.2/32"), allow_http=True)
    sender = sending(policy, QUICK, resolver=names, clock=lambda: now)
    url = f"http://{NAME}:{trap.port}/"

    first = await sender.post(url, {}, b"{}")
    kept = await sender.post(url, {}, b"{}")
    now = KEEP_SECONDS
    rebound = await sender.post(url, {}, b"{}")

    # Nothing listens on the first address; the connection went there, and nowhere else.
    assert first.outcome is Outcome.CONNECTION_FAILED
    assert kept.outcome is FORBIDDEN
    assert rebound.outcome is FORBIDDEN
    assert trap.caught() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "acme.example"])
async def test_a_connection_is_judged_even_if_nothing_was_before(host: str, trap: Trap) -> None:
    connections = Connections((), tls.context(), 1.0)

    with pytest.raises(aiohttp.ClientConnectorError):
        await connections.fresh.post(f"http://{host}:{trap.port}/")

    assert trap.caught() == 0
    await connections.close()


async def test_a_connection_resolves_nothing(trap: Trap) -> None:
    connections = Connections(parse_networks("127.0.0.0/8,::1/128"), tls.context(), 1.0)

    with pytest.raises(aiohttp.ClientConnectorError):
        await connections.fresh.post(f"http://localhost:{trap.port}/")

    assert trap.caught() == 0
    await connections.close()


async def test_no_proxy_of_the_environment_is_used(
    trap: Trap, sending: Sending, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fine(_reader: object, writer: object) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")  # type: ignore[attr-defined]

    receiver = await receiving(fine)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    exchange = await sending().post(receiver.url(), {}, b"{}")

    assert exchange.outcome is Outcome.DELIVERED
    assert trap.caught() == 0


async def test_a_name_that_does_not_exist_is_told(sending: Sending) -> None:
    exchange = await sending(HTTP_ONLY).post("https://nowhere.invalid/", {}, b"{}")

    assert exchange.outcome is UNRESOLVED
    assert exchange.detail == "The name could not be resolved."
