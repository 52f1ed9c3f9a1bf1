"""How names become addresses: each is checked, kept for a while, and asked for once at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from quarry_webhooks.egress.networks import parse_networks
from quarry_webhooks.egress.resolving import (
    KEEP_FAILURE_SECONDS,
    KEEP_SECONDS,
    MAX_ADDRESSES,
    Addresses,
    ForbiddenAddressError,
    UnresolvedError,
)

NAME = "hooks.acme.example"


class Names:
    """A resolver that gives its answers one after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await self.open.wait()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def addresses_of(names: Names, clock: Clock, allowed: str = "") -> AsyncIterator[Addresses]:
    made = Addresses(parse_networks(allowed), names, lookup_seconds=0.05, clock=clock)
    try:
        yield made
    finally:
        await made.close()


async def test_the_addresses_of_a_name_are_asked_for_again_after_half_a_minute() -> None:
    names, clock = Names(["1.1.1.1"], ["8.8.8.8"]), Clock()

    async with addresses_of(names, clock) as addresses:
        first = await addresses.of(NAME)
        clock.now = KEEP_SECONDS - 1
        assert await addresses.of(NAME) == first
        assert len(names.asked) == 1
        clock.now = KEEP_SECONDS
        assert [str(address) for address in await addresses.of(NAME)] == ["8.8.8.8"]


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["2606:4700::1", "::1"],
        ["::ffff:8.8.8.8"],
        ["1.1.1.1", "8.8.8.8", "9.9.9.9", "1.0.0.1", "192.168.0.1"],
        ["fe80::1%eth0"],
    ],
)
async def test_a_name_with_any_forbidden_address_is_refused_without_naming_it(found: list[str]) -> None:
    async with addresses_of(Names(found), Clock()) as addresses:
        with pytest.raises(ForbiddenAddressError) as caught:
            await addresses.of(NAME)

    assert not [address for address in found if address in str(caught.value)]


async def test_a_name_that_is_rebound_is_refused() -> None:
    names, clock = Names(["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8"]), Clock()

    async with addresses_of(names, clock) as addresses:
        await addresses.of(NAME)
        clock.now += KEEP_SECONDS
        with pytest.raises(ForbiddenAddressError):
            await addresses.of(NAME)
        clock.now += KEEP_FAILURE_SECONDS
        assert await addresses.of(NAME)


async def test_the_operator_allows_what_a_name_stands_for() -> None:
    async with addresses_of(Names(["127.0.0.1"]), Clock(), "127.0.0.0/8") as addresses:
        assert [str(address) for address in await addresses.of(NAME)] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (OSError(-2, "Name or service not known"), "could not be resolved"),
        ([], "stands for no address"),
        (["nonsense"], "could not be resolved"),
    ],
)
async def test_a_failure_is_kept_for_five_seconds(answer: Sequence[str] | OSError, words: str) -> None:
    names, clock = Names(answer, ["8.8.8.8"]), Clock()

    async with addresses_of(names, clock) as addresses:
        for _ in range(3):
            with pytest.raises(UnresolvedError, match=words):
                await addresses.of(NAME)
        assert len(names.asked) == 1
        clock.now = KEEP_FAILURE_SECONDS
        assert await addresses.of(NAME)


async def test_a_resolver_that_never_answers_is_given_up() -> None:
    names = Names(["8.8.8.8"])
    names.open.clear()

    async with addresses_of(names, Clock()) as addresses:
        with pytest.raises(UnresolvedError, match=r"within 0\.05 s"):
            await addresses.of(NAME)


async def test_many_ask_for_a_name_at_once_with_one_question() -> None:
    names = Names(["8.8.8.8"])
    names.open.clear()

    async with addresses_of(names, Clock()) as addresses:
        asking = [asyncio.create_task(addresses.of(NAME)) for _ in range(20)]
        while not names.asked:
            await asyncio.sleep(0)
        asking[0].cancel()
        names.open.set()
        given = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(given[0], asyncio.CancelledError)
    assert all(isinstance(one, tuple) for one in given[1:])
    assert names.asked == [NAME]


async def test_few_addresses_are_tried_and_first_the_one_that_answered() -> None:
    found = ["1.1.1.1", "8.8.8.8", "9.9.9.9", "1.0.0.1"]

    async with addresses_of(Names(found), Clock()) as addresses:
        before = await addresses.of(NAME)
        addresses.prefer(NAME, before[2])
        after = await addresses.of(NAME)

    assert len(before) == MAX_ADDRESSES
    assert [str(address) for address in after] == ["9.9.9.9", "1.1.1.1", "8.8.8.8"]


async def test_a_name_that_led_nowhere_is_asked_for_again() -> None:
    names = Names(["1.1.1.1"], ["8.8.8.8"])

    async with addresses_of(names, Clock()) as addresses:
        await addresses.of(NAME)
        addresses.forget(NAME)
        assert [str(address) for address in await addresses.of(NAME)] == ["8.8.8.8"]
