"""One computation at a time for one key in a process."""

import asyncio

import pytest

from quarry_common.cache.flights import Flights


class Work:
    """Something to compute that goes on when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.cancelled = False
        self.go_on = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return self.begun


async def begun(flights: Flights[int], work: Work, callers: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flights.join("key", work)) for _ in range(callers)]
    while not work.begun:
        await asyncio.sleep(0)
    return tasks


async def test_two_hundred_callers_compute_once() -> None:
    flights, work = Flights[int](), Work()
    tasks = await begun(flights, work, 200)
    work.go_on.set()

    assert await asyncio.gather(*tasks) == [1] * 200
    assert len(flights) == 0


async def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    flights, work = Flights[int](), Work(ValueError("no"))
    tasks = await begun(flights, work, 5)
    work.go_on.set()

    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 5
    with pytest.raises(ValueError, match="no"):
        await flights.join("key", work)
    assert work.begun == 2


async def test_the_first_caller_may_leave_without_the_others() -> None:
    flights, work = Flights[int](), Work()
    first, *others = await begun(flights, work, 3)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go_on.set()

    assert await asyncio.gather(*others) == [1, 1]
    assert not work.cancelled


async def test_the_last_caller_who_leaves_ends_it() -> None:
    flights, work = Flights[int](), Work()
    tasks = await begun(flights, work, 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(flights) == 0

    again = asyncio.create_task(flights.join("key", work))
    work.go_on.set()
    assert await again == 2
    assert work.cancelled
