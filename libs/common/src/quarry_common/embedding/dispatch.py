"""Sends what waits for a remote embedder: in batches, within the budget, again where that may help.

Texts of all callers go into common requests, owner by owner in turn. Before each request the budget is asked;
one that must wait is put together anew when it may go, so that who came late is in it.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from contextvars import Context

from quarry_common.embedding.budget import Budget
from quarry_common.embedding.endpoint import Endpoint
from quarry_common.embedding.errors import (
    EmbedderDimensionsError,
    EmbedderFailedError,
    EmbedderLimitedError,
    TextRefusedError,
)
from quarry_common.embedding.metrics import EMBEDDER_LIMITED
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.embedding.waiting import Batch, Call, FairQueue, Item
from quarry_common.errors import QuarryError, UnavailableError

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20.0
LONGEST_PAUSE_SECONDS = 60.0
"""Of a rate limit that does not tell when to come back."""
ASK_AGAIN_SECONDS = 5.0
"""Longest time after which a pause is asked for again: an operator may have lifted it."""


class Dispatcher:
    """Brings texts to an endpoint and each vector, or error, to the call that waits for it."""

    def __init__(self, settings: EmbedderSettings, endpoint: Endpoint, budget: Budget) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._batch_texts = settings.embedder_batch_texts
        self._batch_tokens = settings.embedder_batch_tokens
        if budget.most_tokens:
            self._batch_tokens = min(self._batch_tokens, budget.most_tokens)
        self._new_items = FairQueue()
        self._again: deque[Batch] = deque()
        """What is sent once more, or in parts."""
        self._again_next = False
        self._slots = asyncio.Semaphore(settings.embedder_concurrency)
        self._dispatcher: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._limits_in_a_row = 0
        self._limited_at = 0.0
        self._closed = False
        self.held_until = 0.0
        """While the budget lets nothing pass: the loop's `time()` at which it may again; else 0."""

    def submit(self, items: Sequence[Item]) -> None:
        """Let `items`, all of one call, be sent when it is their turn."""
        if items[0].call.deadline <= self.held_until:
            items[0].call.fail(self.held_up(items[0].call))
            return
        self._new_items.add(items)
        self._dispatch_soon()

    def held_up(self, call: Call) -> EmbedderLimitedError:
        """Return what to tell a call for which the budget leaves no time."""
        left = max(self.held_until - asyncio.get_running_loop().time(), 0.001)
        told = call.error if isinstance(call.error, EmbedderLimitedError) else None
        return EmbedderLimitedError(
            told.data.detail if told else f"Nothing may be sent to the embedding endpoint for {left:.1f} s",
            retry_after_seconds=round(left, 3),
        )

    async def close(self) -> None:
        """Stop what is under way. Whoever waits for it is told by the caller of this."""
        self._closed = True
        tasks = [*self._sending, *([self._dispatcher] if self._dispatcher else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _dispatch_soon(self) -> None:
        if not self._closed and (self._dispatcher is None or self._dispatcher.done()):
            # In a context of its own: its log lines and spans are no part of the caller's.
            self._dispatcher = asyncio.get_running_loop().create_task(
                self._dispatch(), name="embedder", context=Context()
            )

    async def _dispatch(self) -> None:
        """Send what waits, as many requests at a time as are allowed; end when nothing waits."""
        while True:
            await self._slots.acquire()
            batch = None
            try:
                batch = await self._next_batch()
            except Exception as error:
                log.exception("what waits for the embedder cannot be sent")
                for item in self._all_items():
                    item.call.fail(error)
            finally:
                if batch is None:
                    self._slots.release()
            if batch is None:
                return
            task = asyncio.create_task(self._send(batch), name="embedder request")
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._slots.release()

    async def _next_batch(self) -> Batch | None:
        """Return what may be sent now, once the budget allows; None when nothing waits."""
        while (batch := self._compose()) is not None:
            wait = 1.0
            try:
                wait = await self._budget.take(batch.tokens)
            finally:
                if wait > 0:
                    self._put_back(batch)
            if wait <= 0:
                return batch
            self.held_until = asyncio.get_running_loop().time() + wait
            self._refuse_hopeless()
            if not self._all_items():
                self.held_until = 0.0
                return None
            # A little later than asked: those who wait for the same moment must not all come at once.
            await asyncio.sleep(min(wait * random.uniform(1.0, 1.1), ASK_AGAIN_SECONDS) + 0.001)  # noqa: S311
            self.held_until = 0.0
        return None

    def _compose(self) -> Batch | None:
        """Take what is sent again and what is new in turn, so that neither holds up the other."""
        self._again_next = not self._again_next
        first, second = (self._old, self._new) if self._again_next else (self._new, self._old)
        return first() or second()

    def _old(self) -> Batch | None:
        while self._again:
            batch = self._again.popleft()
            if items := batch.alive():
                return Batch(items, batch.failures, again=True)
        return None

    def _new(self) -> Batch | None:
        items = self._new_items.take(self._batch_texts, self._batch_tokens)
        return Batch(items) if items else None

    def _put_back(self, batch: Batch) -> None:
        self._again_next = not self._again_next
        if batch.again:
            self._again.appendleft(batch)
        else:
            self._new_items.put_back(batch.items)

    def _refuse_hopeless(self) -> None:
        """End the calls whose deadline passes before anything may be sent."""
        for item in self._all_items():
            if item.call.deadline <= self.held_until:
                item.call.fail(self.held_up(item.call))
        self._new_items.drop_over()
        self._again = deque(batch for batch in self._again if batch.alive())

    def _all_items(self) -> list[Item]:
        return [*self._new_items, *(item for batch in self._again for item in batch.items)]

    async def _send(self, batch: Batch) -> None:
        items = batch.items = batch.alive()
        if not items:
            return
        started = asyncio.get_running_loop().time()
        try:
            vectors = await self._endpoint.embed([item.sized.text for item in items])
        except QuarryError as error:
            await self._met(batch, error, started)
        except Exception as error:
            log.exception("a request to the embedding endpoint failed")
            for item in items:
                item.call.fail(error)
        else:
            self._limits_in_a_row = 0
            for item, vector in zip(items, vectors, strict=True):
                item.call.deliver(item.index, vector)

    async def _met(self, batch: Batch, error: QuarryError, started: float) -> None:
        match error:
            case EmbedderLimitedError():
                await self._limited(batch, error, started)
            case TextRefusedError():
                self._refused(batch, error)
            case EmbedderDimensionsError():
                _fail(batch.items, error)
            case EmbedderFailedError() | UnavailableError():
                self._failed(batch, error)
            case _:
                _fail(batch.items, error)

    async def _limited(self, batch: Batch, error: EmbedderLimitedError, started: float) -> None:
        """Let every process pause, then send the batch again."""
        if started >= self._limited_at:  # else it was under way when another was told the same
            self._limits_in_a_row += 1
        self._limited_at = asyncio.get_running_loop().time()
        pause = error.data.retry_after_seconds or _delay(self._limits_in_a_row, LONGEST_PAUSE_SECONDS)
        EMBEDDER_LIMITED.inc()
        log.info("the embedding endpoint is left alone for %.1f s: %s", pause, error)
        told = EmbedderLimitedError(error.data.detail, retry_after_seconds=round(pause, 3))
        for item in batch.items:
            item.call.error = told
        await self._budget.pause(pause)
        self._send_again([batch])

    def _refused(self, batch: Batch, error: TextRefusedError) -> None:
        """Send the halves, until the text at fault is alone."""
        if len(batch.items) == 1:
            _fail(batch.items, error)
            return
        log.info("%d texts were refused together and are sent in halves: %s", len(batch.items), error)
        self._send_again(batch.halves())

    def _failed(self, batch: Batch, error: QuarryError) -> None:
        """Send the batch again after a while; from the second time on in halves, should one text be to
        blame."""
        batch.failures += 1
        delay = _delay(batch.failures, LONGEST_DELAY_SECONDS)
        loop = asyncio.get_running_loop()
        log.info("%d texts are sent again in %.1f s: %s", len(batch.items), delay, error)
        for item in batch.items:
            item.call.error = error
        _fail([item for item in batch.items if item.call.deadline <= loop.time() + delay], error)
        halve = batch.failures > 1 and isinstance(error, EmbedderFailedError)
        loop.call_later(delay, self._send_again, batch.halves() if halve else [batch])

    def _send_again(self, batches: Sequence[Batch]) -> None:
        self._again.extend(batches)
        self._dispatch_soon()


def _delay(failures: int, longest: float) -> float:
    """Return the seconds to wait after so many failures: twice as long each time, spread over half of it."""
    most = min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16), longest)
    return random.uniform(most / 2, most)  # noqa: S311 - not a secret


def _fail(items: Sequence[Item], error: QuarryError) -> None:
    for item in items:
        which = f" (text {item.index + 1} of {item.call.size})" if isinstance(error, TextRefusedError) else ""
        item.call.fail(retold(error, which))


def retold(error: QuarryError, more: str = "") -> QuarryError:
    """Return the same error for another caller: a trace belongs to one."""
    data = error.data
    return type(error)(data.detail + more, advice=data.advice, retry_after_seconds=data.retry_after_seconds)
