"""Durable consumers whose handler takes many messages at once, in the order of the stream.

A batch is acknowledged after the handler's commit. What fails for a while is tried again in place, so that
nothing overtakes it; what fails for good is tried message by message, and what still fails is a dead letter.
Handlers are idempotent: a batch whose acknowledgement was lost comes again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from quarry_common.contracts.streams import Consumer
from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.messaging.consumer import (
    CONSUMED,
    FETCH_SECONDS,
    PUBLISH_SECONDS,
    Delivery,
    bury,
    delay_seconds,
    is_permanent,
    stay_alive,
)
from quarry_common.messaging.watchdog import consumers_exist
from quarry_common.postgres.leadership import Leadership
from quarry_common.telemetry import tracing
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

BATCH = 256
TOGETHER_ATTEMPTS = 3
"""After an error that nobody foresaw a batch is tried so often before it is parted."""
RETRY_SECONDS = 2.0
LATE_SECONDS = 1.0
"""An answer of the server may come so much later than it was asked for."""
LINKS = 32

_ENDS = {"404", "408"}
"""There is nothing now; the time is over."""
_NANOSECONDS = 1_000_000_000
_OUTAGES = (UnavailableError, OSError, TimeoutError)

BatchHandler = Callable[[list[Delivery]], Awaitable[None]]


class BatchConsumer:
    """Runs one handler on the messages of one durable consumer, up to `batch` at a time, one batch at a time.

    With a `leadership` one process at a time consumes, and messages reach the handler in the order of the
    stream, across restarts and takeovers; a process that stood still may do its last batch twice.
    """

    def __init__(
        self,
        bus: Client,
        consumer: Consumer,
        handler: BatchHandler,
        *,
        batch: int = BATCH,
        leadership: Leadership | None = None,
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._handler = handler
        self._batch = batch
        self._leadership = leadership
        self._jetstream: JetStreamContext = bus.jetstream(timeout=PUBLISH_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping` is set; a batch in hand is finished, unless what it needs is away.

        Raises `UnavailableError` when the durable consumer is missing at the start.
        """
        await consumers_exist(self._bus, [self._consumer])()
        while not stopping.is_set():
            try:
                if await self._leads():
                    await self._consume(stopping)
            except (QuarryError, NatsError, OSError, TimeoutError) as error:
                log.warning("%s: %s; trying again", self._consumer.name, error)
            await pause(stopping, RETRY_SECONDS)

    async def _leads(self) -> bool:
        return self._leadership is None or await self._leadership.take()

    async def _consume(self, stopping: asyncio.Event) -> None:
        if self._leadership is not None:
            await self._wait_for_what_others_had(stopping)
        pulled = await _Pull.open(self._bus, self._consumer)
        try:
            while not stopping.is_set() and await self._leads():
                messages = await pulled.next(self._batch, stopping)
                if messages and not await self._settle(messages, stopping):
                    await _leave(messages)
                    break
        finally:
            await pulled.close()
        if self._leadership is not None:
            await self._leadership.give_back()

    async def _wait_for_what_others_had(self, stopping: asyncio.Event) -> None:
        """Let what another process had in hand come again: later messages must not overtake it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._consumer.ack_wait_seconds + LATE_SECONDS
        while not stopping.is_set() and loop.time() < until and await self._leads():
            info = await self._jetstream.consumer_info(self._consumer.stream, self._consumer.name)
            if not info.num_ack_pending:
                return
            await pause(stopping, 0.5)

    async def _settle(self, messages: Sequence[Msg], stopping: asyncio.Event) -> bool:
        """Acknowledge the messages or bury them; return False when it stopped before that."""
        beat = asyncio.create_task(stay_alive(self._consumer, messages))
        try:
            with tracing.span(
                f"{self._consumer.name} process",
                kind=tracing.CONSUMER,
                links=[link for raw in messages[:LINKS] for link in tracing.link_to(_trace(raw))],
                attributes={"messaging.system": "nats", "messaging.batch.message_count": len(messages)},
            ):
                return await self._try(messages, stopping)
        finally:
            beat.cancel()

    async def _try(self, messages: Sequence[Msg], stopping: asyncio.Event) -> bool:
        deliveries = [_delivery(raw) for raw in messages]
        most = TOGETHER_ATTEMPTS if len(messages) > 1 else self._consumer.max_deliver
        attempt = failures = 0
        while True:
            attempt += 1
            try:
                await self._handler(deliveries)
            except Exception as error:
                outage = isinstance(error, _OUTAGES)
                failures += not outage
                log.warning(
                    "%s: attempt %d on %d messages failed: %s",
                    self._consumer.name, attempt, len(messages), error, exc_info=None if outage else error,
                )  # fmt: skip
                if is_permanent(error) or failures >= most:
                    return await self._part(messages, attempt, error, stopping)
                CONSUMED.labels(self._consumer.name, "retried").inc(len(messages))
                # Without end while what the handler needs is away: nothing is known to be wrong with them.
                if not await self._wait(delay_seconds(min(attempt, 10)), stopping):
                    return False
            else:
                for raw in messages:
                    await raw.ack()
                CONSUMED.labels(self._consumer.name, "done").inc(len(messages))
                return True

    async def _wait(self, seconds: float, stopping: asyncio.Event) -> bool:
        """Wait before the next attempt; return whether it may be made."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0 and not stopping.is_set():
            await pause(stopping, min(left, FETCH_SECONDS))
            try:
                if not await self._leads():
                    return False
            except UnavailableError:
                continue  # nobody else can take over either while the database is away
        return not stopping.is_set()

    async def _part(
        self, messages: Sequence[Msg], attempt: int, error: Exception, stopping: asyncio.Event
    ) -> bool:
        if len(messages) > 1:
            for raw in messages:
                if not await self._try([raw], stopping):
                    return False
            return True
        while not await bury(self._jetstream, self._consumer, messages[0], attempt, error):
            await pause(stopping, RETRY_SECONDS)
            if stopping.is_set():
                return False
        CONSUMED.labels(self._consumer.name, "dead_letter").inc()
        return True


class _Pull:
    """Asks the server for messages. `Subscription.fetch` of nats-py waits until a batch is full."""

    def __init__(self, bus: Client, consumer: Consumer, inbox: Subscription) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
        self._inbox = inbox

    @classmethod
    async def open(cls, bus: Client, consumer: Consumer) -> "_Pull":
        return cls(bus, consumer, await bus.subscribe(bus.new_inbox()))

    async def close(self) -> None:
        if not self._bus.is_closed:
            await self._inbox.unsubscribe()

    async def next(self, most: int, stopping: asyncio.Event) -> list[Msg]:
        """Return what there is, at most `most`; wait a while for the first, as long as nothing stops."""
        found = await self._ask(most, wait=False)
        if found:
            return found
        waiting = asyncio.create_task(self._ask(1, wait=True))
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                return []
            first = waiting.result()
        finally:
            waiting.cancel()
            stop.cancel()
        return [*first, *await self._ask(most - 1, wait=False)] if first and most > 1 else first

    async def _ask(self, most: int, *, wait: bool) -> list[Msg]:
        request = {"batch": most, "expires": int(FETCH_SECONDS * _NANOSECONDS)} if wait else {
            "batch": most, "no_wait": True}  # fmt: skip
        await self._bus.publish(self._subject, msgspec.json.encode(request), reply=self._inbox.subject)
        found: list[Msg] = []
        while len(found) < most:
            try:
                raw = await self._inbox.next_msg(timeout=LATE_SECONDS + (FETCH_SECONDS if wait else 0))
            except (NatsError, TimeoutError):
                break  # the server went away before it answered; it is asked again
            if raw.headers and "Status" in raw.headers:
                status = raw.headers["Status"]
                if status not in _ENDS:
                    raise UnavailableError(f"JetStream gives nothing of {self._subject}: status {status}")
                break
            found.append(raw)
        return found


async def _leave(messages: Sequence[Msg]) -> None:
    """Let messages that are not done come again at once."""
    for raw in messages:
        with suppress(NatsError, OSError):  # settled before, or the server is away: it finds out
            await raw.nak()


def _delivery(raw: Msg) -> Delivery:
    meta = raw.metadata
    return Delivery(raw.subject, raw.data, meta.num_delivered or 1, meta.sequence.stream)


def _trace(raw: Msg) -> str:
    return (raw.headers or {}).get("traceparent", "")
