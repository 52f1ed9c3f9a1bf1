"""What is written to a collection during a run."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from quarry_local.vector_engine.shards.frames import Answer, Changes, Question


class Entry(msgspec.Struct, frozen=True):
    """A write, and what came of it."""

    question: Question
    refused: bool
    points: int
    """How many it changed."""


class Journal:
    """The writes since the folder was copied, in their order.

    Over a limit it is full: it drops what it holds, and takes no more.
    """

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self.full = asyncio.Event()
        self.changes = Changes()
        self.writes = 0
        self._entries: deque[Entry] = deque()
        self._max_points = max_points
        self._max_bytes = max_bytes
        self._weight = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, question: Question, answer: Answer) -> None:
        """Remember a write that has been applied, or refused by the engine."""
        if self.full.is_set():
            return
        self.writes += 1
        self.changes.add(answer.changes)
        entry = Entry(question, answer.error is not None, answer.changes.points)
        self._weight += _weight(entry)
        self._bytes += len(question.body)
        self._entries.append(entry)
        if self._weight > self._max_points or self._bytes > self._max_bytes:
            self._entries.clear()
            self.full.set()

    def next(self) -> Entry | None:
        """Take the oldest write; None when there is none."""
        if not self._entries:
            return None
        entry = self._entries.popleft()
        self._weight -= _weight(entry)
        return entry


def _weight(entry: Entry) -> int:
    return max(1, entry.points)  # one without points, such as a new payload index, is held in memory as well
