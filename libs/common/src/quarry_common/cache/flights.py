"""One computation at a time for one key in this process; everybody who asks meanwhile waits for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Flight(Generic[T]):
    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


class Flights(Generic[T]):
    """The computations under way. Belongs to one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[object, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def has(self, key: object) -> bool:
        """Whether `key` is being computed."""
        return key in self._under_way

    async def join(self, key: object, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `compute` returns, begun by the first who asks for `key`; its error reaches everybody.

        A caller that is cancelled leaves the others waiting; the last one ends the computation.
        """
        flight = self._under_way.get(key)
        if flight is None:
            flight = self._under_way[key] = _Flight(asyncio.create_task(compute()))
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._landed(key, flight)
                flight.task.cancel()

    def _landed(self, key: object, flight: _Flight[T]) -> None:
        # Not one that was begun anew under the same key.
        if self._under_way.get(key) is flight:
            del self._under_way[key]
