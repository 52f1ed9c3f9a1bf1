"""Embedding without blocking the event loop, with the queries of concurrent requests in one run.

One thread is enough: onnxruntime and the tokenizer release the GIL while they work and use the threads that
EMBEDDER_THREADS allows.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from quarry_common.embedding.protocol import Embedder, Vectors
from quarry_common.errors import DeadlineExceededError, UnavailableError

MAX_TEXTS_PER_RUN = 16


class EmbedderBusyError(UnavailableError):
    """More texts wait for the embedder than are allowed to."""

    code = "embedder_busy"
    title = "The embedder has too much to do"


class _Waiting(NamedTuple):
    texts: Sequence[str]
    vectors: asyncio.Future[Vectors]


class EmbedderPool:
    """An embedder behind a bounded queue and one thread. Belongs to the event loop that first uses it.

    While one run is under way, what arrives is collected and goes into the next: up to 16 texts, in the
    order of arrival. Requests of more texts are cut into runs, so a query waits for one run of an upload,
    not for all.
    """

    def __init__(self, embedder: Embedder, *, max_waiting: int) -> None:
        self.embedder = embedder
        self._max_waiting = max_waiting
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._closed = False

    async def embed(self, texts: Sequence[str], *, deadline: float) -> Vectors:
        """Return one vector per text. `deadline` is a moment of the running loop's `time()`.

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
        self._queue.extend(entries)
        self._waiting += len(texts)
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run(), name="embedder")
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
        """Refuse what waits, let the run under way finish, end the thread."""
        self._closed = True
        for entry in self._queue:
            if not entry.vectors.done():
                entry.vectors.set_exception(UnavailableError("The embedder is being stopped"))
        self._queue.clear()
        if self._runner is not None:
            await self._runner
        self._thread.shutdown()

    async def _run(self) -> None:
        while batch := self._take():
            texts = [text for entry in batch for text in entry.texts]
            loop = asyncio.get_running_loop()
            try:
                vectors = await loop.run_in_executor(self._thread, self.embedder.embed, texts)
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
        """Remove from the queue what goes into the next run; what nobody waits for any more is dropped."""
        batch: list[_Waiting] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].texts) <= MAX_TEXTS_PER_RUN):
            entry = self._queue.popleft()
            self._waiting -= len(entry.texts)
            if not entry.vectors.done():
                batch.append(entry)
                size += len(entry.texts)
        return batch
