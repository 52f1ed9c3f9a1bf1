import asyncio

import pytest

from quarry_common.errors import ErrorData, RemoteError, UnavailableError
from quarry_gateway.resolver import Resolver
from quarry_gateway.ttl_map import TtlMap


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_value_is_forgotten_when_its_time_since_the_question_is_over() -> None:
    clock = Clock()
    values: TtlMap[str, int] = TtlMap(5, 10, clock)
    clock.time = 3
    values.put("a", 1, asked_at=0)

    clock.time = 4.9
    assert values.get("a") == 1
    clock.time = 5
    assert values.get("a") is None
    assert len(values) == 0


def test_the_oldest_values_make_room() -> None:
    values: TtlMap[int, int] = TtlMap(5, 3, Clock())
    for number in range(5):
        values.put(number, number, asked_at=0)

    assert [values.get(number) for number in range(5)] == [None, None, 2, 3, 4]


def test_matching_values_are_dropped() -> None:
    values: TtlMap[int, int] = TtlMap(5, 10, Clock())
    for number in range(4):
        values.put(number, number, asked_at=0)

    assert values.drop(lambda value: value % 2 == 0) == 2
    assert [values.get(number) for number in range(4)] == [None, 1, None, 3]


async def test_one_question_is_asked_for_many_and_survives_one_that_goes_away() -> None:
    asked, may_answer = [], asyncio.Event()

    async def ask(number: int) -> int:
        asked.append(number)
        await may_answer.wait()
        return number * 2

    resolver = Resolver(ask, ttl_seconds=5, max_entries=10)
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

    resolver = Resolver(ask, ttl_seconds=5, max_entries=10)
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

    resolver = Resolver(ask, ttl_seconds=5, max_entries=10)
    with pytest.raises(UnavailableError):
        await resolver.resolve(1)

    assert await resolver.resolve(1) == 7
