"""Values in memory, each until a time; the least recently used make room."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class _Entry(Generic[ValueT]):
    __slots__ = ("expires_at", "size", "value")

    def __init__(self, value: ValueT, expires_at: float, size: int) -> None:
        self.value = value
        self.expires_at = expires_at
        self.size = size


class Lru(Generic[KeyT, ValueT]):
    """At most `max_items` values of at most `max_bytes` together, as whoever keeps them weighs them.

    `gone` hears of each that goes: its key, its size, whether it went to make room. `clock` gives seconds.
    """

    def __init__(
        self,
        max_items: int,
        max_bytes: float = float("inf"),
        *,
        gone: Callable[[KeyT, int, bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._gone = gone
        self._clock = clock
        self._entries: OrderedDict[KeyT, _Entry[ValueT]] = OrderedDict()
        self.size_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def now(self) -> float:
        """Return the time on the clock by which values end."""
        return self._clock()

    def get(self, key: KeyT) -> ValueT | None:
        """Return the value unless it is missing or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self.remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def set(self, key: KeyT, value: ValueT, expires_at: float, size: int = 0) -> bool:
        """Keep `value`; return whether it is kept. One that is too large or too old is not, nor is what was
        there before."""
        self.remove(key)
        if size > self._max_bytes or expires_at <= self._clock():
            return False
        self._entries[key] = _Entry(value, expires_at, size)
        self.size_bytes += size
        while len(self._entries) > self._max_items or self.size_bytes > self._max_bytes:
            self.evictions += 1
            self._remove(next(iter(self._entries)), evicted=True)
        return True

    def remove(self, key: KeyT) -> bool:
        """Forget one value; return whether it was there."""
        return self._remove(key, evicted=False)

    def drop(self, matches: Callable[[ValueT], bool]) -> int:
        """Forget every value that `matches`; return how many there were."""
        found = [key for key, entry in self._entries.items() if matches(entry.value)]
        return sum(map(self.remove, found))

    def clear(self) -> int:
        """Forget everything; return how much there was."""
        return sum(map(self.remove, list(self._entries)))

    def _remove(self, key: KeyT, *, evicted: bool) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.size_bytes -= entry.size
        if self._gone is not None:
            self._gone(key, entry.size, evicted)
        return True
