"""What another service said of an id: asked once, believed for a time, counted."""

import asyncio
import math

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
    """From when on changes are heard of; and the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.since = 1000.0
        self.asked: list[int] = []

    def unchanged_until(self, since: float) -> float | None:
        return self.now - 0.5 if since >= self.since else None

    def resolver(self, *, lasting: bool = True) -> Resolver[int, int]:
        async def ask(number: int) -> int:
            self.asked.append(number)
            return number

        return Resolver(
            "probe",
            ask,
            ttl_seconds=4,
            max_entries=10,
            unchanged_until=self.unchanged_until,
            lasting=lambda _: lasting,
            clock=lambda: self.now,
        )


async def test_an_answer_is_believed_longer_while_changes_are_heard_of() -> None:
    changes = Changes()
    resolver = changes.resolver()
    for _ in range(4 * TRUSTED_TIMES):
        await resolver.resolve(1)
        changes.now += 1
    assert changes.asked == [1]

    await resolver.resolve(1)
    assert changes.asked == [1, 1]


@pytest.mark.parametrize("lost", [True, False])
async def test_an_answer_from_before_a_loss_or_without_word_is_believed_no_longer(lost: bool) -> None:
    changes = Changes()
    resolver = changes.resolver()
    await resolver.resolve(1)

    changes.now += 4
    changes.since = changes.now - 1 if lost else math.inf
    await resolver.resolve(1)
    assert changes.asked == [1, 1]


async def test_when_changes_are_heard_of_no_more_the_last_word_counts_as_an_answer() -> None:
    changes = Changes()
    resolver = changes.resolver()
    await resolver.resolve(1)
    changes.now += 10
    await resolver.resolve(1)  # known to be right half a second ago

    changes.since = math.inf
    changes.now += 3.25
    await resolver.resolve(1)
    assert changes.asked == [1]

    changes.now += 0.25
    await resolver.resolve(1)
    assert changes.asked == [1, 1]


async def test_an_answer_of_whose_change_nobody_tells_is_believed_no_longer() -> None:
    changes = Changes()
    resolver = changes.resolver(lasting=False)
    await resolver.resolve(1)

    changes.now += 4
    await resolver.resolve(1)
    assert changes.asked == [1, 1]
