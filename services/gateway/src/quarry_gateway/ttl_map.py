"""A small map that forgets: bounded in entries and in time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class TtlMap(Generic[KeyT, ValueT]):
    """Holds at most `max_entries` values, each until its own time; the oldest make room."""

    def __init__(
        self, ttl_seconds: float, max_entries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[KeyT, tuple[float, ValueT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def now(self) -> float:
        """Return the time on the map's clock, to be given to `put`."""
        return self._clock()

    def get(self, key: KeyT) -> ValueT | None:
        """Return the value of `key` while it is fresh."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        if until <= self._clock():
            del self._entries[key]
            return None
        return value

    def put(self, key: KeyT, value: ValueT, asked_at: float) -> None:
        """Keep `value`; its time runs from `asked_at`, when it was asked for, not answered."""
        self._entries.pop(key, None)
        self._entries[key] = (asked_at + self._ttl_seconds, value)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def drop(self, matches: Callable[[ValueT], bool]) -> int:
        """Forget every value that `matches`; return how many there were."""
        found = [key for key, (_, value) in self._entries.items() if matches(value)]
        for key in found:
            del self._entries[key]
        return len(found)
