"""The first tier: entries in this process's memory, the least recently used of them forgotten first."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from quarry_common.cache.keys import EntryKey
from quarry_common.cache.metrics import BYTES, ENTRIES, EVICTIONS

OVERHEAD_BYTES = 512
"""What an entry takes besides the characters of its key and the bytes of its value: measured, 441 where a
tenant has many, 723 where each has one."""


class _Entry:
    __slots__ = ("expires_at", "group", "size", "value")

    def __init__(self, value: bytes, expires_at: float, size: int, group: tuple[UUID, str]) -> None:
        self.value = value
        self.expires_at = expires_at
        self.size = size
        self.group = group


class MemoryTier:
    """At most `max_items` entries of at most `max_bytes` together. `clock` gives seconds."""

    def __init__(
        self, max_items: int, max_bytes: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[tuple[UUID, str], _Entry] = OrderedDict()
        self._groups: dict[tuple[UUID, str], set[str]] = {}
        """The keys of each tenant and generation, so that they can go together."""
        self.bytes = 0
        self.evictions = 0
        # A process has one; of several (tests) the last is shown.
        ENTRIES.labels("memory").set_function(self.__len__)
        BYTES.labels("memory").set_function(lambda: self.bytes)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: EntryKey) -> bytes | None:
        """Return the value unless it is missing or too old."""
        place = (key.tenant, key.memory)
        entry = self._entries.get(place)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self._remove(place)
            return None
        self._entries.move_to_end(place)
        return entry.value

    def set(self, key: EntryKey, value: bytes, ttl_seconds: float) -> None:
        """Keep `value`. What is larger than the whole memory is not kept, nor is what was there before."""
        place = (key.tenant, key.memory)
        self._remove(place)
        size = len(key.memory) + len(value) + OVERHEAD_BYTES
        if size > self._max_bytes or ttl_seconds <= 0:
            return
        group = (key.tenant, key.generation)
        self._entries[place] = _Entry(value, self._clock() + ttl_seconds, size, group)
        self._groups.setdefault(group, set()).add(key.memory)
        self.bytes += size
        while len(self._entries) > self._max_items or self.bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
            self.evictions += 1
            EVICTIONS.labels("memory").inc()

    def delete(self, key: EntryKey) -> bool:
        """Forget one entry; return whether it was there."""
        return self._remove((key.tenant, key.memory))

    def forget(self, tenant: UUID, generation: str) -> None:
        """Forget every entry of one generation of a tenant's content."""
        for memory in self._groups.pop((tenant, generation), ()):
            self._remove((tenant, memory))

    def invalidate(self, tenant: UUID, pattern: re.Pattern[str]) -> int:
        """Forget the tenant's entries whose key fits `pattern` as a whole; return how many."""
        fitting = [
            (tenant, memory)
            for (owner, _), keys in self._groups.items()
            if owner == tenant
            for memory in keys
            if pattern.fullmatch(memory)
        ]
        return sum(self._remove(place) for place in fitting)

    def _remove(self, place: tuple[UUID, str]) -> bool:
        entry = self._entries.pop(place, None)
        if entry is None:
            return False
        self.bytes -= entry.size
        group = self._groups.get(entry.group)
        if group is not None:
            group.discard(place[1])
            if not group:
                del self._groups[entry.group]
        return True
