"""Embedding without blocking the event loop, with the queries of concurrent requests in one run.

Runs go side by side in threads, each on one core: onnxruntime and the tokenizer release the GIL while they
work, and a run that waits for no other leaves no core idle at its end.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from quarry_common.embedding.protocol import Embedder, Vectors
from quarry_common.errors import DeadlineExceededError, UnavailableError

log = logging.getLogger(__name__)

MAX_TEXTS_PER_RUN = 8


class EmbedderBusyError(UnavailableError):
    """More texts wait for the embedder than are allowed to."""

    code = "embedder_busy"
    title = "The embedder has too much to do"


class _Waiting(NamedTuple):
    texts: Sequence[str]
    vectors: asyncio.Future[Vectors]


class EmbedderPool:
    """An embedder behind a bounded queue and some threads. Belongs to the event loop that first uses it.

    While runs are under way, what arrives is collected and goes into the next: up to eight texts. Requests of
    more texts are cut into runs, and owners take turns, so nobody waits for all that another has brought.
    """

    def __init__(self, embedder: Embedder, *, max_waiting: int, threads: int = 1) -> None:
        self.embedder = embedder
        self._max_waiting = max_waiting
        self._queues: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        """By owner, in the order of their turns; an owner without entries is not in it."""
        self._waiting = 0
        self._most_runners = threads
        self._runners: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embedder")
        self._closed = False

    @property
    def id(self) -> str:
        """Id of the embedder."""
        return self.embedder.id

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.embedder.dimensions

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count."""
        return self.embedder.max_tokens

    async def embed(self, texts: Sequence[str], *, deadline: float, owner: str = "") -> Vectors:
        """Return one vector per text. `deadline` is a moment of the running loop's `time()`; `owner` is whom
        the texts belong to.

        Raises `EmbedderBusyError` when the queue is full and `DeadlineExceededError` when the deadline
        passes; what has not begun by then is not computed.
        """
        if self._closed:
            raise UnavailableError("The embedder is being stopped", retry_after_seconds=1)
        if self._waiting + len(texts) > self._max_waiting:
            raise EmbedderBusyError(
                f"{self._waiting} texts wait for the embedder; at most {self._max_waiting} may",
                retry_after_seconds=1,
            )
        if not texts:
            return np.empty((0, self.embedder.dimensions), dtype=np.float32)
        # Long texts beside long ones: the cut below must not mix what the embedder would have sorted apart.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        slices = [order[at : at + MAX_TEXTS_PER_RUN] for at in range(0, len(order), MAX_TEXTS_PER_RUN)]
        loop = asyncio.get_running_loop()
        entries = [_Waiting([texts[index] for index in rows], loop.create_future()) for rows in slices]
        self._queues.setdefault(owner, deque()).extend(entries)
        self._waiting += len(texts)
        # One that has ended may still be in the set: it takes nothing any more.
        running = sum(not runner.done() for runner in self._runners)
        for _ in range(min(len(entries), self._most_runners - running)):
            runner = loop.create_task(self._run(), name="embedder")
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)
        vectors = np.empty((len(texts), self.embedder.dimensions), dtype=np.float32)
        try:
            async with asyncio.timeout_at(deadline):
                for rows, entry in zip(slices, entries, strict=True):
                    vectors[rows] = await entry.vectors
        except TimeoutError:
            raise DeadlineExceededError(
                "The texts were not embedded in time", retry_after_seconds=1
            ) from None
        finally:
            for entry in entries:
                entry.vectors.cancel()
        return vectors

    async def close(self) -> None:
        """Refuse what waits, let the runs under way finish, end the threads."""
        self._closed = True
        for entry in (entry for queue in self._queues.values() for entry in queue):
            if not entry.vectors.done():
                entry.vectors.set_exception(UnavailableError("The embedder is being stopped"))
        self._queues.clear()
        if self._runners:
            await asyncio.wait(self._runners)
        self._threads.shutdown()

    async def _run(self) -> None:
        while batch := self._take():
            texts = [text for entry in batch for text in entry.texts]
            # Before the run: what a killed process had begun is counted, too.
            log.debug("embedding", extra={"texts": len(texts)})
            loop = asyncio.get_running_loop()
            try:
                vectors = await loop.run_in_executor(self._threads, self.embedder.embed, texts)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, not to this task
                for entry in batch:
                    if not entry.vectors.done():
                        entry.vectors.set_exception(error)
                continue
            start = 0
            for entry in batch:
                if not entry.vectors.done():
                    entry.vectors.set_result(vectors[start : start + len(entry.texts)])
                start += len(entry.texts)

    def _take(self) -> list[_Waiting]:
        """Remove from the queues what goes into the next run; what nobody waits for any more is dropped."""
        batch: list[_Waiting] = []
        size = 0
        while self._queues:
            owner, queue = next(iter(self._queues.items()))
            if batch and size + len(queue[0].texts) > MAX_TEXTS_PER_RUN:
                break
            entry = queue.popleft()
            if queue:
                self._queues.move_to_end(owner)
            else:
                del self._queues[owner]
            self._waiting -= len(entry.texts)
            if not entry.vectors.done():
                batch.append(entry)
                size += len(entry.texts)
        return batch
