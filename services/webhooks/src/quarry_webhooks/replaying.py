"""Makes deliveries of a range pending again, in batches, each with its progress in one transaction.

A job that is interrupted is resumed where it was, by any process. Receivers get the same `webhook-id`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from quarry_common.contracts.events import Way
from quarry_common.contracts.events.filters import matches
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.webhooks import ReplayKind
from quarry_common.errors import QuarryError
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_common.telemetry.logging import bound
from quarry_common.waiting import pause
from quarry_webhooks.delivering.ports import Clock
from quarry_webhooks.domain import messages
from quarry_webhooks.domain.messages import Message
from quarry_webhooks.repository import messages as message_repository
from quarry_webhooks.repository import queues
from quarry_webhooks.repository import rearming as repository
from quarry_webhooks.repository.rearming import Job, Target

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
LEASE_SECONDS = 60.0
RETRY_SECONDS = 5.0
MOST_ATTEMPTS = 10
BATCH = 500
FETCH_SECONDS = 2.0
STREAM_SECONDS = 5.0
LATE = timedelta(hours=1)
"""An event is in the stream so much later than it happened at most, when its range is looked for."""


class _LostError(Exception):
    """Another process has the job, or its endpoint is gone."""


class Replaying:
    """Works on one job at a time."""

    def __init__(self, database: Database, bus: Client, clock: Clock) -> None:
        self._database = database
        self._stream = bus.jetstream(timeout=STREAM_SECONDS)
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        """Work on jobs until `stopping` is set; one at hand is left to be resumed."""
        while not stopping.is_set():
            try:
                if await self.work(stopping):
                    continue
            except (QuarryError, asyncpg.PostgresError, OSError) as error:
                log.warning("replays: %s; trying again", error)
            await pause(stopping, POLL_SECONDS)

    async def work(self, stopping: asyncio.Event) -> bool:
        """Work on the next job; return whether there was one. Raises `UnavailableError`."""
        async with self._database.worker_transaction() as worker:
            job = await repository.claim(worker, LEASE_SECONDS)
        if job is None:
            return False
        with (
            bound(tenant=str(job.tenant_id), replay=str(job.id)),
            tracing.span(
                "webhook replay", attributes={"replay.id": str(job.id), "replay.kind": job.kind.value}
            ),
        ):
            await self._run(job, stopping)
        return True

    async def _run(self, job: Job, stopping: asyncio.Event) -> None:
        try:
            if job.attempts > MOST_ATTEMPTS:
                await self._finish(job, "It was begun ten times and came no further.")
                return
            again = self._recover if job.kind is ReplayKind.RECOVER else self._replay
            if await again(job, stopping):
                await self._finish(job)
            else:
                await self._give_back(job, 0.0)
        except _LostError:
            log.info("the replay is another's now, or its endpoint is gone")
        except (QuarryError, asyncpg.PostgresError, NatsError, OSError, TimeoutError) as error:
            log.warning("a replay was interrupted: %s", error)
            with suppress(QuarryError):
                await self._give_back(job, RETRY_SECONDS)
        except Exception:
            log.exception("a replay failed")
            await self._finish(job, "An error that was not foreseen ended it.")

    async def _finish(self, job: Job, error: str = "") -> None:
        async with self._database.worker_transaction() as worker:
            await repository.finish(worker, job, error)

    async def _give_back(self, job: Job, delay_seconds: float) -> None:
        async with self._database.worker_transaction() as worker:
            await repository.give_back(worker, job, delay_seconds)

    async def _recover(self, job: Job, stopping: asyncio.Event) -> bool:
        """Re-arm what has failed; return whether all was looked at."""
        reached = UUID(job.reached) if job.reached else UUID(int=0)
        while not stopping.is_set():
            async with self._database.tenant_transaction(job.tenant_id) as connection:
                to = await self._target(connection, job)
                found = await repository.candidates(connection, job, reached, BATCH)
                if not found:
                    return True
                wanted = [
                    each.id
                    for each in found
                    if matches(each.event_type, job.event_types or to.event_types, Way.WEBHOOKS)
                ]
                again = await repository.rearm(connection, wanted, self._clock(), enabled=to.enabled)
                reached = found[-1].id
                await repository.advance(connection, job, str(reached), len(found), again, LEASE_SECONDS)
                await queues.wake(connection, job.endpoint_id)
        return False

    async def _replay(self, job: Job, stopping: asyncio.Event) -> bool:
        """Read the stream and deliver what matches; return whether the range was read to its end."""
        reached = int(job.reached or 0)
        async with self._reading(job, reached) as subscription:
            while not stopping.is_set():
                read = await _fetch(subscription)
                if not read:
                    # Nothing came: the stream holds no more, unless the server forgot who reads.
                    info = await subscription.consumer_info()
                    if not info.num_pending:
                        return True
                    continue
                await self._deliver(job, read)
                last = read[-1].metadata
                if not last.num_pending or last.timestamp > job.until + LATE:
                    return True
        return False

    @asynccontextmanager
    async def _reading(self, job: Job, reached: int) -> AsyncIterator[JetStreamContext.PullSubscription]:
        """A reader of the tenant's events from `reached` on, which the server forgets soon after."""
        begin = (
            ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=reached + 1)
            if reached
            else ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=job.since.isoformat(),  # type: ignore[arg-type]
            )
        )
        config = begin.evolve(
            ack_policy=AckPolicy.NONE, inactive_threshold=60.0, filter_subject=f"evt.v1.{job.tenant_id}.>"
        )
        info = await self._stream.add_consumer(EVENTS.name, config)
        subscription = await self._stream.pull_subscribe_bind(info.name, EVENTS.name)
        try:
            yield subscription
        finally:
            with suppress(NatsError, TimeoutError, OSError):
                await subscription.unsubscribe()
                await self._stream.delete_consumer(EVENTS.name, info.name)

    async def _deliver(self, job: Job, read: list[Msg]) -> None:
        now = self._clock()
        async with self._database.tenant_transaction(job.tenant_id) as connection:
            to = await self._target(connection, job)
            wanted = [message for raw in read if (message := _wanted(raw, job, to)) is not None]
            again = 0
            if wanted:
                await message_repository.add_messages(connection, wanted)
                again = await repository.deliver_again(
                    connection, job.endpoint_id, wanted, now, enabled=to.enabled
                )
            reached = str(read[-1].metadata.sequence.stream)
            await repository.advance(connection, job, reached, len(read), again, LEASE_SECONDS)
            if again:
                await queues.wake(connection, job.endpoint_id)

    async def _target(self, connection: Connection, job: Job) -> Target:
        found = await repository.target(connection, job)
        if found is None:
            raise _LostError
        return found


async def _fetch(subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    try:
        return await subscription.fetch(BATCH, timeout=FETCH_SECONDS)
    except TimeoutError:
        return []


def _wanted(raw: Msg, job: Job, to: Target) -> Message | None:
    try:
        message = messages.read(raw.data, raw.metadata.sequence.stream)
    except msgspec.MsgspecError:
        return None  # the fan-out has told of it
    if message.tenant_id != job.tenant_id or not job.since <= message.occurred_at < job.until:
        return None
    wanted = matches(message.event_type, job.event_types or to.event_types, Way.WEBHOOKS)
    return message if wanted else None
