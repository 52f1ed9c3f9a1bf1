"""Texts that wait for a remote embedder: by owner, who take turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quarry_common.embedding.protocol import Vectors
from quarry_common.embedding.sizes import SizedText
from quarry_common.errors import QuarryError


class Call:
    """One caller's texts, which are embedded in any number of requests."""

    def __init__(self, count: int, deadline: float) -> None:
        self.deadline = deadline
        """A moment of the running loop's `time()`."""
        self.error: QuarryError | None = None
        """What the last request for one of the texts met with, if it failed."""
        self.vectors: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self.size = count
        """How many texts there are."""
        self._rows: dict[int, NDArray[np.float32]] = {}

    @property
    def over(self) -> bool:
        """Whether nobody waits for a vector any more."""
        return self.vectors.done()

    def deliver(self, index: int, row: NDArray[np.float32]) -> None:
        """Take the vector of text `index`."""
        self._rows[index] = row
        if len(self._rows) == self.size and not self.over:
            self.vectors.set_result(np.stack([self._rows[number] for number in range(self.size)]))

    def fail(self, error: Exception) -> None:
        """End the call, and with it all of its texts, with `error`."""
        if not self.over:
            self.vectors.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One text of a call."""

    sized: SizedText
    call: Call
    index: int
    owner: str


@dataclass(slots=True, eq=False)
class Batch:
    """The texts of one request."""

    items: list[Item]
    failures: int = 0
    again: bool = False
    """Whether it was sent before, by itself or as a part of another."""

    @property
    def tokens(self) -> int:
        """Estimated tokens of all texts."""
        return sum(item.sized.tokens for item in self.items)

    def alive(self) -> list[Item]:
        """Return what somebody still waits for."""
        return [item for item in self.items if not item.call.over]

    def halves(self) -> list["Batch"]:
        """Return two batches of half the texts each, or one of a single text."""
        items = self.alive()
        middle = (len(items) + 1) // 2
        return [Batch(part, self.failures) for part in (items[:middle], items[middle:]) if part]


class FairQueue:
    """Gives out one text of each owner in turn, an owner's own in the order of their arrival."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Item]] = OrderedDict()
        """In the order of their turns; an owner without texts is not in it."""

    def __iter__(self) -> Iterator[Item]:
        for queue in self._queues.values():
            yield from queue

    def add(self, items: Sequence[Item]) -> None:
        """Append `items`, all of one owner."""
        if items:
            self._queues.setdefault(items[0].owner, deque()).extend(items)

    def put_back(self, items: Sequence[Item]) -> None:
        """Undo a `take`: its texts are the next again."""
        for item in reversed(items):
            self._queues.setdefault(item.owner, deque()).appendleft(item)
            self._queues.move_to_end(item.owner, last=False)

    def drop_over(self) -> None:
        """Forget what nobody waits for any more."""
        for owner, queue in list(self._queues.items()):
            left = deque(item for item in queue if not item.call.over)
            if left:
                self._queues[owner] = left
            else:
                del self._queues[owner]

    def take(self, most_texts: int, most_tokens: int) -> list[Item]:
        """Remove and return the texts of the next request; what nobody waits for any more is dropped.

        Both bounds hold, except that a single text may have more than `most_tokens`.
        """
        taken: list[Item] = []
        tokens = 0
        while self._queues and len(taken) < most_texts:
            owner, queue = next(iter(self._queues.items()))
            item = queue[0]
            if not item.call.over:
                if taken and tokens + item.sized.tokens > most_tokens:
                    break
                taken.append(item)
                tokens += item.sized.tokens
            queue.popleft()
            if not queue:
                del self._queues[owner]
            elif not item.call.over:
                self._queues.move_to_end(owner)
        return taken
