"""What has changed in a collection: as counts since its last run, and as operations during a run."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from quarry_local.vector_engine.updates import Change


class Changes(msgspec.Struct):
    """How many points have been changed (deleted ones among them) and deleted."""

    points: int = 0
    deleted: int = 0

    def add(self, other: Change | Changes) -> None:
        """Add what an operation, or another count, has changed."""
        self.points += other.points
        self.deleted += other.deleted


class Entry(msgspec.Struct, frozen=True):
    """An operation, and whether the engine accepted it."""

    change: Change
    accepted: bool


class Journal:
    """The operations since the folder was copied, in their order.

    Over a limit it is full: it drops what it holds, and takes no more.
    """

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self.full = asyncio.Event()
        self.changes = Changes()
        self.operations = 0
        self._entries: deque[Entry] = deque()
        self._max_points = max_points
        self._max_bytes = max_bytes
        self._weight = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, change: Change, *, accepted: bool) -> None:
        """Remember an operation that has been applied, or refused by the engine."""
        if self.full.is_set():
            return
        self.operations += 1
        self.changes.add(change)
        self._weight += _weight(change)
        self._entries.append(Entry(change, accepted))
        self._check()

    def add_bytes(self, count: int) -> None:
        """Count the body of a request whose operations are about to be added."""
        self._bytes += count
        self._check()

    def next(self) -> Entry | None:
        """Take the oldest operation; None when there is none."""
        if not self._entries:
            return None
        entry = self._entries.popleft()
        self._weight -= _weight(entry.change)
        return entry

    def _check(self) -> None:
        if self._weight > self._max_points or self._bytes > self._max_bytes:
            self._entries.clear()
            self.full.set()


def _weight(change: Change) -> int:
    return max(1, change.points)  # one without points, such as a new payload index, is held in memory as well
