"""The first tier: entries in this process's memory, the least recently used of them forgotten first."""

import re
import time
from collections.abc import Callable
from uuid import UUID

from quarry_common.cache.keys import EntryKey, parts, space_of
from quarry_common.cache.lru import Lru
from quarry_common.cache.metrics import BYTES, ENTRIES, EVICTIONS

OVERHEAD_BYTES = 512
"""What an entry takes besides the characters of its key and the bytes of its value: measured, 441 where a
tenant has many, 723 where each has one."""


class Usage:
    """What the entries of one cache take."""

    __slots__ = ("entries", "evictions", "size_bytes")

    def __init__(self) -> None:
        self.entries = self.size_bytes = self.evictions = 0


class MemoryTier:
    """At most `max_items` entries of at most `max_bytes` together. `clock` gives seconds."""

    def __init__(
        self, max_items: int, max_bytes: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._entries: Lru[tuple[UUID, str], bytes] = Lru(max_items, max_bytes, gone=self._gone, clock=clock)
        self._groups: dict[tuple[UUID, str], set[str]] = {}
        """The keys of each tenant and generation, so that they can go together."""
        self._usage: dict[str, Usage] = {}
        """By the cache's name, as keys hold it."""
        self.era = 0
        """Changes when entries are invalidated: what was on its way here before is not to be kept."""
        # A process has one; of several (tests) the last is shown.
        ENTRIES.labels("memory").set_function(self.__len__)
        BYTES.labels("memory").set_function(lambda: self.size_bytes)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """What all entries take."""
        return self._entries.size_bytes

    @property
    def evictions(self) -> int:
        """How many entries were forgotten to make room."""
        return self._entries.evictions

    def usage(self, name: str) -> Usage:
        """Return what the entries of the cache called `name` take."""
        return self._usage.setdefault(space_of(name), Usage())

    def get(self, key: EntryKey) -> bytes | None:
        """Return the value unless it is missing or too old."""
        return self._entries.get((key.tenant, key.memory))

    def set(self, key: EntryKey, value: bytes, ttl_seconds: float) -> None:
        """Keep `value`. What is larger than the whole memory is not kept, nor is what was there before."""
        place = (key.tenant, key.memory)
        size = len(key.memory) + len(value) + OVERHEAD_BYTES
        if not self._entries.set(place, value, self._clock() + ttl_seconds, size):
            return
        space, generation = parts(key.memory)
        self._groups.setdefault((key.tenant, generation), set()).add(key.memory)
        usage = self._usage.setdefault(space, Usage())
        usage.entries += 1
        usage.size_bytes += size

    def delete(self, key: EntryKey) -> bool:
        """Forget one entry; return whether it was there."""
        return self._entries.remove((key.tenant, key.memory))

    def forget(self, tenant: UUID, generation: str) -> None:
        """Forget every entry of one generation of a tenant's content."""
        for memory in self._groups.pop((tenant, generation), ()):
            self._entries.remove((tenant, memory))

    def invalidate(self, tenant: UUID, pattern: re.Pattern[str]) -> int:
        """Forget the tenant's entries whose key fits `pattern` as a whole; return how many."""
        self.era += 1
        fitting = [
            (tenant, memory)
            for (owner, _), keys in self._groups.items()
            if owner == tenant
            for memory in keys
            if pattern.fullmatch(memory)
        ]
        return sum(map(self._entries.remove, fitting))

    def clear(self) -> int:
        """Forget everything; return how many entries there were."""
        self.era += 1
        return self._entries.clear()

    def _gone(self, place: tuple[UUID, str], size: int, evicted: bool) -> None:
        tenant, memory = place
        space, generation = parts(memory)
        usage = self._usage[space]
        usage.entries -= 1
        usage.size_bytes -= size
        if evicted:
            usage.evictions += 1
            EVICTIONS.labels("memory").inc()
        group = self._groups.get((tenant, generation))
        if group is not None:
            group.discard(memory)
            if not group:
                del self._groups[tenant, generation]
