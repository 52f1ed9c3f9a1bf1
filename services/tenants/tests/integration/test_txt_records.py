"""What the DNS says, asked over UDP from a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from quarry_tenants.domain.domains import Lookup, Outcome
from quarry_tenants.txt_records import DnsResolver, nameservers

from .dns_server import DnsServer, serving_names

NAME = "_quarry-challenge.acme.example"


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with serving_names() as started:
        yield started


@pytest.fixture
def resolver(server: DnsServer) -> DnsResolver:
    return DnsResolver([("127.0.0.1", server.port)], look_up_seconds=2)


async def test_every_record_of_a_name_is_found(server: DnsServer, resolver: DnsResolver) -> None:
    server.set(NAME, ["one"], ["two"])

    found = await resolver.look_up(NAME)

    assert found.outcome is Outcome.FOUND
    assert sorted(found.values) == ["one", "two"]
    assert set(server.asked) == {NAME}


async def test_the_strings_of_one_record_are_one_text(server: DnsServer, resolver: DnsResolver) -> None:
    server.set(NAME, ["quarry-domain-", "verification=", "x" * 255])

    assert (await resolver.look_up(NAME)).values == ("quarry-domain-verification=" + "x" * 255,)


async def test_bytes_that_are_no_text_do_no_harm(server: DnsServer, resolver: DnsResolver) -> None:
    server.set(NAME, [b"\xff\x00"], ["right"])

    assert "right" in (await resolver.look_up(NAME)).values


async def test_a_name_that_does_not_exist_is_told_from_one_without_such_records(
    server: DnsServer, resolver: DnsResolver
) -> None:
    assert await resolver.look_up(NAME) == Lookup(Outcome.NO_NAME)

    server.set(NAME)

    assert await resolver.look_up(NAME) == Lookup(Outcome.NO_RECORD)


async def test_a_server_that_cannot_tell_is_no_answer(server: DnsServer, resolver: DnsResolver) -> None:
    server.refusing = True

    assert await resolver.look_up(NAME) == Lookup(Outcome.UNANSWERED)


async def test_a_server_that_is_silent_is_no_answer_in_a_bounded_time(server: DnsServer) -> None:
    server.silent = True
    resolver = DnsResolver([("127.0.0.1", server.port)], look_up_seconds=0.2)

    async with asyncio.timeout(5):
        assert await resolver.look_up(NAME) == Lookup(Outcome.UNANSWERED)
    assert server.asked


async def test_an_address_where_nobody_listens_is_no_answer() -> None:
    resolver = DnsResolver([("127.0.0.1", 1)], look_up_seconds=0.2)

    assert await resolver.look_up(NAME) == Lookup(Outcome.UNANSWERED)


async def test_a_second_server_is_asked_when_the_first_is_away(server: DnsServer) -> None:
    server.set(NAME, ["right"])
    resolver = DnsResolver([("127.0.0.1", 1), ("127.0.0.1", server.port)], look_up_seconds=0.9)

    assert (await resolver.look_up(NAME)).values == ("right",)


async def test_it_works_on_the_loop_that_services_run_on(server: DnsServer) -> None:
    server.set(NAME, ["right"])

    async def look_up() -> Lookup:
        return await DnsResolver([("127.0.0.1", server.port)], look_up_seconds=2).look_up(NAME)

    found = await asyncio.to_thread(uvloop.run, look_up())

    assert found == Lookup(Outcome.FOUND, ("right",))


def test_servers_are_listed_with_or_without_a_port() -> None:
    listed = " 192.0.2.53 ,192.0.2.54:5353, 2001:db8::53, [2001:db8::54], [::1]:53,"

    assert nameservers(listed) == (
        ("192.0.2.53", 53),
        ("192.0.2.54", 5353),
        ("2001:db8::53", 53),
        ("2001:db8::54", 53),
        ("::1", 53),
    )
    assert nameservers("") == ()


@pytest.mark.parametrize(
    "wrong", ["dns.example", "192.0.2.53:x", "192.0.2.53:0", "192.0.2.53:65536", "[::1", "[::1]53"]
)
def test_what_is_no_address_is_said_so(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not an address such as"):
        nameservers(wrong)
