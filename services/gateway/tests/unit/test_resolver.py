"""What another service said of an id: asked once, believed for a time, counted."""

import asyncio
import math
import time

import pytest

from quarry_common.errors import ErrorData, RemoteError, UnavailableError
from quarry_gateway.access.resolver import TRUSTED_TIMES, Resolver


async def test_one_question_is_asked_for_many_and_survives_one_that_goes_away() -> None:
    asked, may_answer = [], asyncio.Event()

    async def ask(number: int) -> int:
        asked.append(number)
        await may_answer.wait()
        return number * 2

    resolver = Resolver("probe", ask, ttl_seconds=5, max_entries=10)
    first, second = (asyncio.create_task(resolver.resolve(4)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    may_answer.set()

    assert await second == 8
    assert await resolver.resolve(4) == 8
    assert asked == [4]


@pytest.mark.parametrize(("status", "questions"), [(401, 1), (503, 2)])
async def test_a_refusal_is_remembered_and_a_failure_is_not(status: int, questions: int) -> None:
    asked = 0

    async def ask(_number: int) -> int:
        nonlocal asked
        asked += 1
        raise RemoteError(ErrorData("x", status, "x", "x"))

    resolver = Resolver("probe", ask, ttl_seconds=5, max_entries=10)
    for _ in range(2):
        with pytest.raises(RemoteError):
            await resolver.resolve(1)

    assert asked == questions


async def test_unreachable_is_not_remembered() -> None:
    answers = [UnavailableError("down"), None]

    async def ask(_number: int) -> int:
        error = answers.pop(0)
        if error is not None:
            raise error
        return 7

    resolver = Resolver("probe", ask, ttl_seconds=5, max_entries=10)
    with pytest.raises(UnavailableError):
        await resolver.resolve(1)

    assert await resolver.resolve(1) == 7


async def test_an_answer_is_believed_from_when_it_was_asked_for() -> None:
    asked = 0

    async def ask(_number: int) -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return asked

    resolver = Resolver("probe", ask, ttl_seconds=0.05, max_entries=10)

    assert [await resolver.resolve(1), await resolver.resolve(1)] == [1, 2]


async def test_invented_ids_do_not_push_real_ones_out() -> None:
    asked: list[int] = []

    async def ask(number: int) -> int:
        asked.append(number)
        if number:
            raise RemoteError(ErrorData("x", 401, "x", "x"))
        return 7

    resolver = Resolver("probe", ask, ttl_seconds=5, max_entries=10)
    await resolver.resolve(0)
    for number in range(1, 100):
        with pytest.raises(RemoteError):
            await resolver.resolve(number)

    assert await resolver.resolve(0) == 7
    assert asked.count(0) == 1
    assert resolver.stats().memory.entries == 11


async def test_what_is_asked_for_while_something_is_forgotten_is_not_kept() -> None:
    answers, may_answer = ["valid", "revoked"], asyncio.Event()

    async def ask(_number: int) -> str:
        answer = answers.pop(0)
        await may_answer.wait()
        return answer

    resolver = Resolver("probe", ask, ttl_seconds=5, max_entries=10)
    waiting = asyncio.create_task(resolver.resolve(1))
    while len(answers) == 2:
        await asyncio.sleep(0)
    resolver.forget(lambda _: True)
    may_answer.set()

    assert await waiting == "valid"
    assert await resolver.resolve(1) == "revoked"


async def test_look_ups_are_counted() -> None:
    async def ask(number: int) -> int:
        await asyncio.sleep(0)
        return number

    resolver = Resolver("probe", ask, ttl_seconds=5, max_entries=1)
    await asyncio.gather(*(resolver.resolve(1) for _ in range(3)))
    await resolver.resolve(1)
    await resolver.resolve(2)

    stats = resolver.stats()
    assert (stats.name, stats.hits, stats.misses, stats.hit_rate) == ("probe", 3, 2, 0.6)
    assert (stats.shared_computations, stats.memory.hits, stats.memory.evictions) == (2, 1, 1)
    assert (stats.memory.entries, stats.memory.bytes, stats.redis) == (1, None, None)


class Changes:
    """From when on changes are heard of."""

    def __init__(self) -> None:
        self.since = math.inf

    def unchanged_since(self) -> float:
        return self.since


def counting(changes: Changes, *, lasting: bool = True) -> tuple[Resolver[int, int], list[int]]:
    asked: list[int] = []

    async def ask(number: int) -> int:
        asked.append(number)
        return number

    resolver = Resolver(
        "probe",
        ask,
        ttl_seconds=0.02,
        max_entries=10,
        unchanged_since=changes.unchanged_since,
        lasting=lambda _: lasting,
    )
    return resolver, asked


async def test_an_answer_is_believed_longer_while_changes_are_heard_of() -> None:
    changes = Changes()
    resolver, asked = counting(changes)
    changes.since = time.monotonic()
    await resolver.resolve(1)

    await asyncio.sleep(0.05)
    await resolver.resolve(1)
    assert asked == [1]

    await asyncio.sleep(0.02 * TRUSTED_TIMES)
    await resolver.resolve(1)
    assert asked == [1, 1]


@pytest.mark.parametrize("lost", [True, False])
async def test_an_answer_from_before_a_loss_or_without_word_is_believed_no_longer(lost: bool) -> None:
    changes = Changes()
    resolver, asked = counting(changes)
    changes.since = time.monotonic()
    await resolver.resolve(1)

    await asyncio.sleep(0.05)
    changes.since = time.monotonic() if lost else math.inf
    await resolver.resolve(1)
    assert asked == [1, 1]


async def test_an_answer_of_whose_change_nobody_tells_is_believed_no_longer() -> None:
    changes = Changes()
    resolver, asked = counting(changes, lasting=False)
    changes.since = time.monotonic()
    await resolver.resolve(1)

    await asyncio.sleep(0.05)
    await resolver.resolve(1)
    assert asked == [1, 1]
