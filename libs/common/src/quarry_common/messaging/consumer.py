"""Durable consumers of commands and events, through FastStream.

Every message is settled: done → ack, after the handler's commit; transient error → nak with a growing,
jittered delay; permanent error, or the last attempt → dead letter, then ack. Handlers are idempotent.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.annotations import NatsMessage as AnnotatedMessage
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from prometheus_client import Counter

from quarry_common.contracts import subjects
from quarry_common.contracts.streams import Consumer
from quarry_common.errors import ErrorData, UnavailableError, error_data
from quarry_common.messaging.watchdog import consumers_exist
from quarry_common.telemetry import tracing

log = logging.getLogger(__name__)

BATCH = 16
FETCH_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0
PUBLISH_SECONDS = 5.0

CONSUMED = Counter(
    "quarry_messages_total", "Messages settled by a durable consumer.", ("consumer", "outcome")
)

Handler = Callable[["Delivery"], Awaitable[None]]


class Delivery(msgspec.Struct, frozen=True):
    """A message as a handler sees it."""

    subject: str
    body: bytes
    attempt: int
    """1 the first time."""
    sequence: int = 0
    """Its place in the stream; 0 where the handler is not told."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that could not be processed, kept with the reason and replayable to its subject."""

    subject: str
    body: bytes
    consumer: str
    attempts: int
    error: ErrorData
    traceparent: str = ""


class PermanentError(Exception):
    """Raised by a handler for a message that no further attempt can help."""


def delay_seconds(attempt: int) -> float:
    """Return how long to wait after a failure: doubling, at most a minute, jittered by half."""
    full = min(FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1), LONGEST_DELAY_SECONDS)
    return full * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret


class DurableConsumer:
    """Runs one handler on the messages of one durable consumer."""

    def __init__(self, broker: NatsBroker, consumer: Consumer, handler: Handler) -> None:
        self._broker = broker
        self._consumer = consumer
        self._handler = handler
        self._jetstream: JetStreamContext | None = None
        subscriber = broker.subscriber(
            consumer.filter_subject,
            stream=JStream(consumer.stream, declare=False),
            durable=consumer.name,
            pull_sub=PullSub(batch_size=BATCH, timeout=FETCH_SECONDS),
            ack_policy=AckPolicy.MANUAL,
        )
        subscriber(self._receive)

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping` is set; what is in hand is finished."""
        await self._broker.connect()
        await self._require_consumer()
        await self._broker.start()
        self._jetstream = self._broker.connection.jetstream(timeout=PUBLISH_SECONDS)
        try:
            await stopping.wait()
        finally:
            await self._broker.stop()

    async def _require_consumer(self) -> None:
        # FastStream would make a missing one, with settings of its own.
        try:
            await consumers_exist(self._broker.connection, [self._consumer])()
        except UnavailableError:
            await self._broker.stop()
            raise

    async def _receive(self, message: AnnotatedMessage) -> None:
        raw = _raw(message)
        attempt = raw.metadata.num_delivered or 1
        headers = raw.headers or {}
        with tracing.span(
            f"{self._consumer.name} process",
            kind=tracing.CONSUMER,
            # The first attempt belongs to the sender's trace; later ones stand apart and point to it.
            headers=headers if attempt == 1 else None,
            links=tracing.link_to(headers.get("traceparent", "")) if attempt > 1 else (),
            attributes={"messaging.system": "nats", "messaging.destination.name": raw.subject},
        ):
            outcome = await self._settle(raw, attempt)
        CONSUMED.labels(self._consumer.name, outcome).inc()

    async def _settle(self, raw: Msg, attempt: int) -> str:
        if attempt > self._consumer.max_deliver:
            # No attempt told how it ended: the message may be what ends the processes that handle it.
            return await self._bury(raw, attempt, PermanentError("every attempt ended without an answer"))
        beat = asyncio.create_task(stay_alive(self._consumer, [raw]))
        try:
            await self._handler(Delivery(raw.subject, raw.data, attempt))
        except Exception as error:
            log.warning(
                "%s: attempt %d on %s failed", self._consumer.name, attempt, raw.subject, exc_info=error
            )
            if not is_permanent(error) and attempt < self._consumer.max_deliver:
                await raw.nak(delay=delay_seconds(attempt))
                return "retried"
            return await self._bury(raw, attempt, error)
        finally:
            beat.cancel()
        await raw.ack()
        return "done"

    async def _bury(self, raw: Msg, attempt: int, error: Exception) -> str:
        assert self._jetstream is not None  # noqa: S101 - set before the first message can come
        if await bury(self._jetstream, self._consumer, raw, attempt, error):
            return "dead_letter"
        await raw.nak(delay=LONGEST_DELAY_SECONDS)
        return "retried"


def _raw(message: NatsMessage) -> Msg:
    raw = message.raw_message
    if not isinstance(raw, Msg):
        raise TypeError("a pull consumer without batches delivers single messages")
    return raw


def is_permanent(error: Exception) -> bool:
    """Whether no further attempt can help: the message is wrong, or the handler says so."""
    return isinstance(error, PermanentError | msgspec.ValidationError | msgspec.DecodeError)


async def bury(
    jetstream: JetStreamContext, consumer: Consumer, raw: Msg, attempts: int, error: Exception
) -> bool:
    """Write `raw` to the dead letters and settle it; return False when it could not be written.

    It is kept where it is then, and comes again.
    """
    data = error_data(error)
    if isinstance(error, PermanentError | msgspec.MsgspecError):
        data = msgspec.structs.replace(data, code="message_rejected", detail=str(error))
    letter = DeadLetter(
        subject=raw.subject,
        body=raw.data,
        consumer=consumer.name,
        attempts=attempts,
        error=data,
        traceparent=(raw.headers or {}).get("traceparent", ""),
    )
    try:
        await jetstream.publish(
            subjects.dead_letter(consumer.service, subjects.tenant_of(raw.subject), consumer.name),
            msgspec.json.encode(letter),
            headers={"Nats-Msg-Id": f"{consumer.name}:{raw.metadata.sequence.stream}"},
        )
    except (NatsError, TimeoutError, OSError):
        return False
    await raw.ack()
    return True


async def stay_alive(consumer: Consumer, messages: Sequence[Msg]) -> None:
    """Tell the server now and then, until cancelled, that `messages` are being worked on."""
    while True:
        await asyncio.sleep(consumer.ack_wait_seconds / 2)
        for raw in messages:
            with suppress(NatsError, OSError):  # the next beat may get through
                await raw.in_progress()
