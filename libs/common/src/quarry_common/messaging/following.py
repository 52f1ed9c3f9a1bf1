"""Reads a stream on for a reader who keeps its place itself: nothing stays behind on the server.

Each follower has a consumer of its own, in the server's memory. Whatever becomes of it (the server restarts,
it is taken for abandoned, a message is lost on the way) the next one starts after the last message that came.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id

log = logging.getLogger(__name__)

API_SECONDS: Final = 5.0
BATCH: Final = 64
"""Messages that wait at most in the reader's process."""
PULL_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 3.0
SILENCE_SECONDS: Final = 2 * HEARTBEAT_SECONDS + 1.0
"""After so long without a heartbeat the consumer is taken for lost."""
ABANDONED_SECONDS: Final = 60.0
"""How long a reader may take over a batch; its consumer is made anew when it takes longer."""
AGAIN_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 60.0
"""How long the bus may be away before that is told."""
_NANOSECONDS: Final = 1_000_000_000
_API: Final = "$JS.API"
_HEARTBEAT: Final = "100"
_PULL_OVER: Final = frozenset({"404", "408"})


class Bounds(msgspec.Struct, frozen=True):
    """Where a stream begins and ends. `identity` is another when a stream was removed and made anew."""

    first: int
    """Sequence of the oldest message; one after `last` when there is none."""
    last: int
    identity: str


class Stored(msgspec.Struct, frozen=True):
    """A message as the stream holds it."""

    sequence: int
    subject: str
    data: bytes


class _LostError(Exception):
    """The consumer is gone, or a message did not arrive."""


async def bounds_of(connection: Client, stream: str) -> Bounds:
    """Return the bounds of a stream. Raises `UnavailableError` when the bus does not answer."""
    try:
        info = await connection.jetstream(timeout=API_SECONDS).stream_info(stream)
    except (NatsError, OSError, TimeoutError) as error:
        raise UnavailableError("The message bus does not answer.", retry_after_seconds=2) from error
    state = info.state
    created = "" if info.created is None else info.created.isoformat()
    return Bounds(max(state.first_seq, 1), state.last_seq, created)


class Follower:
    """Follows what `subject`, which may hold wildcards, matches in a stream.

    It begins after the sequence `after`, or with what was stored at `since` or later.
    """

    def __init__(
        self,
        connection: Client,
        stream: str,
        subject: str,
        *,
        after: int | None,
        since: datetime | None = None,
    ) -> None:
        self._connection = connection
        self._jetstream = connection.jetstream(timeout=API_SECONDS)
        self._stream = stream
        self._subject = subject
        self._after = after
        self._since = since
        self._answered_at = 0.0

    async def messages(self) -> AsyncGenerator[Stored]:
        """Yield what is there and then what comes, in the stream's order, without end.

        Raises `UnavailableError` when the bus has been away for a minute.
        """
        self._answered_at = time.monotonic()
        while True:
            try:
                async with aclosing(self._read()) as read:
                    async for message in read:
                        self._after = message.sequence
                        yield message
            except (NatsError, OSError, TimeoutError, _LostError) as error:
                if time.monotonic() - self._answered_at > PATIENCE_SECONDS:
                    raise UnavailableError("The message bus does not answer.") from error
                log.debug("a stream is followed anew: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self) -> AsyncGenerator[Stored]:
        """Yield messages through one consumer. Raises when that is lost."""
        name = f"reader-{new_id().hex}"
        inbox = self._connection.new_inbox()
        # Not by `next_msg`: a cancellation is lost in it when a message comes at that moment.
        arrived: asyncio.Queue[Msg] = asyncio.Queue(2 * BATCH)
        arriving = await self._connection.subscribe(inbox, cb=arrived.put)
        try:
            await self._jetstream.add_consumer(self._stream, self._consumer(name))
            self._answered_at = time.monotonic()
            expected = 1
            while True:
                async with aclosing(self._pull(name, inbox, arrived)) as pulled:
                    async for message in pulled:
                        sequence = message.metadata.sequence
                        if sequence.consumer != expected:
                            raise _LostError(f"message {expected} of the consumer did not arrive")
                        expected += 1
                        yield Stored(sequence.stream, message.subject, message.data)
        finally:
            await self._leave(name, arriving)

    def _consumer(self, name: str) -> ConsumerConfig:
        config = ConsumerConfig(
            name=name,
            filter_subject=self._subject,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=ABANDONED_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )
        if self._after is None:
            return config.evolve(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=self._since)
        return config.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._after + 1)

    async def _pull(self, name: str, inbox: str, arrived: asyncio.Queue[Msg]) -> AsyncGenerator[Msg]:
        """Ask for a batch and yield what comes until it is complete or its time is over."""
        wanted = {
            "batch": BATCH,
            "expires": int(PULL_SECONDS * _NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * _NANOSECONDS),
        }
        next_of = f"{_API}.CONSUMER.MSG.NEXT.{self._stream}.{name}"
        await self._connection.publish(next_of, json.dumps(wanted).encode(), reply=inbox)
        came = 0
        while came < BATCH:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await arrived.get()
            self._answered_at = time.monotonic()
            status = (message.headers or {}).get("Status")
            if status is None:
                came += 1
                yield message
            elif status in _PULL_OVER:
                return
            elif status != _HEARTBEAT:
                raise _LostError(f"the consumer answers {status}")

    async def _leave(self, name: str, arriving: Subscription) -> None:
        """Remove the consumer, without waiting; the server does so in time when it hears nothing."""
        with suppress(NatsError, OSError):
            await arriving.unsubscribe()
            if self._connection.is_connected:
                await self._connection.publish(f"{_API}.CONSUMER.DELETE.{self._stream}.{name}")
