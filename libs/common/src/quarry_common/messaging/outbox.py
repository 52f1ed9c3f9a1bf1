"""The outbox: a state change and its messages are one transaction, so that neither is without the other.

One relay per service at a time (it holds a lease) is woken by NOTIFY, publishes the messages of each
aggregate in order and marks them once JetStream has acknowledged them. A crash between the two publishes
again under the same `Nats-Msg-Id`; consumers are idempotent besides. Published rows are kept for 72 hours,
and events among them can be published once more for consumers that lost them.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from uuid import UUID

import asyncpg
import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from prometheus_client import Counter, Gauge

from quarry_common.contracts import subjects
from quarry_common.contracts.commands import Command
from quarry_common.contracts.events import EventData, envelope, subject_of
from quarry_common.contracts.replaying import KEPT_HOURS, MAX_EVENTS
from quarry_common.contracts.streams import EVENTS
from quarry_common.errors import (
    FieldError,
    PayloadTooLargeError,
    QuarryError,
    UnavailableError,
    ValidationError,
)
from quarry_common.ids import new_id
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_common.waiting import pause, woken

log = logging.getLogger(__name__)

MIGRATIONS: Traversable = files("quarry_common.messaging") / "migrations"
"""The outbox table, for the schema of each service that has one."""

BATCH = 500
MAX_BODY_BYTES = EVENTS.max_message_bytes - 4_096  # headers count too
PUBLISH_CONCURRENCY = 64
PUBLISH_SECONDS = 5.0
LEASE_SECONDS = 15.0
"""After it a relay that was killed or stands still is replaced."""
POLL_SECONDS = 0.25
"""Well below the lag that listeners bear: an outbox that was not read is not known to be empty."""
RETRY_SECONDS = 2.0
TOLD_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.05
CLEAN_SECONDS = 600.0

PUBLISHED = Counter("quarry_outbox_published_total", "Messages that JetStream acknowledged.")
LAG = Gauge("quarry_outbox_lag_seconds", "Age of the oldest message that waits to be published.")
WAITING = Gauge("quarry_outbox_waiting", "Messages that wait to be published, at most one batch.")

_INSERT = """
WITH added AS (
    INSERT INTO outbox (tenant_id, message_id, subject, aggregate, body, traceparent)
    SELECT $1, m.message_id, m.subject, m.aggregate, m.body, m.traceparent
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[]) WITH ORDINALITY
        AS m (message_id, subject, aggregate, body, traceparent, place)
    ORDER BY m.place
    RETURNING 1)
SELECT pg_notify($7, '') FROM added LIMIT 1
"""

_REPUBLISH = """
WITH chosen AS (
    SELECT id FROM outbox
    -- By the index: nothing is published before it is written.
    WHERE published_at >= $1 AND created_at >= $1 AND created_at < $2 AND starts_with(subject, 'evt.')
        AND ($3::uuid IS NULL OR tenant_id = $3)
    LIMIT $4)
UPDATE outbox SET published_at = NULL, message_id = gen_random_uuid()
FROM chosen WHERE outbox.id = chosen.id RETURNING outbox.id
"""


class Message(msgspec.Struct, frozen=True):
    """An event or a command on its way, with the trace that it belongs to."""

    content: EventData | Command
    traceparent: str = ""
    """Of the present span, when it is empty."""


async def publish(
    connection: Connection, messages: Sequence[Message], *, service: str, tenant_id: UUID
) -> None:
    """Write messages to the outbox of `service` in one statement, in the transaction of what they tell of."""
    if not messages:
        return
    here = tracing.traceparent()
    rows = [_row(message.content, message.traceparent or here, service, tenant_id) for message in messages]
    await connection.execute(_INSERT, tenant_id, *map(list, zip(*rows, strict=True)), channel(service))


async def publish_event(connection: Connection, data: EventData, *, service: str, tenant_id: UUID) -> None:
    """Write `data` to the outbox, in the transaction of the change that it tells of."""
    await publish(connection, [Message(data)], service=service, tenant_id=tenant_id)


async def publish_command(connection: Connection, command: Command, *, tenant_id: UUID) -> None:
    """Write `command` to the outbox, in the transaction that made the work it tells of."""
    await publish(connection, [Message(command)], service=command.service, tenant_id=tenant_id)


async def told(database: Database, tenant_id: UUID, aggregate: str) -> None:
    """Return when what was written about `aggregate` is published, or after a second.

    For answers after which nobody shall see what was before: who caches hears of the change first. When the
    relay is further behind than that, nothing is cached anyhow. The change is made: what goes wrong here does
    not make it an error.
    """
    try:
        async with asyncio.timeout(TOLD_SECONDS):
            await _published(database, tenant_id, aggregate)
    except (QuarryError, asyncpg.PostgresError, TimeoutError) as error:
        log.info("not known to be published yet: %s %s", aggregate, error)


async def _published(database: Database, tenant_id: UUID, aggregate: str) -> None:
    delay = FIRST_PAUSE_SECONDS
    while True:
        await asyncio.sleep(delay)
        delay = min(delay * 1.5, LONGEST_PAUSE_SECONDS)
        async with database.tenant_transaction(tenant_id) as connection:
            waiting = await connection.fetchval(
                """
                SELECT 1 FROM outbox
                WHERE published_at IS NULL AND tenant_id = $1 AND aggregate = $2 LIMIT 1
                """,
                tenant_id,
                aggregate,
            )
        if waiting is None:
            return


def _row(
    content: EventData | Command, trace: str, service: str, tenant_id: UUID
) -> tuple[UUID, str, str, bytes, str]:
    if isinstance(content, Command):
        message_id = new_id()
        subject = subjects.command(content.service, tenant_id, content.verb)
        return message_id, subject, str(message_id), _body(content), trace
    event = envelope(content, source=service, tenant_id=tenant_id, traceparent=trace)
    return UUID(event.id), subject_of(event), content.subject_id, _body(event), trace


def _body(message: msgspec.Struct) -> bytes:
    body = msgspec.json.encode(message)
    if len(body) > MAX_BODY_BYTES:
        # The stream would refuse it at every attempt, for ever.
        raise PayloadTooLargeError(f"A message of {len(body)} bytes is too large to be published.")
    return body


def channel(service: str) -> str:
    """Return the NOTIFY channel that wakes the relay of `service`."""
    return f"outbox_{service}"


class Relay:
    """Publishes what stands in a service's outbox."""

    def __init__(self, database: Database, connection: Client) -> None:
        self._database = database
        self._stream: JetStreamContext = connection.jetstream(timeout=PUBLISH_SECONDS)
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(PUBLISH_CONCURRENCY)
        self._leadership = Leadership(database, "outbox", seconds=LEASE_SECONDS)
        self._empty_at: float | None = None
        """Monotonic time before which nothing waits any more; None while another process relays."""

    def lag_ms(self) -> float | None:
        """Return how old a message may be that waits still, or None when this process does not relay."""
        return None if self._empty_at is None else (time.monotonic() - self._empty_at) * 1000

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until `stopping` is set; at any time one process of the service does it."""
        while not stopping.is_set():
            try:
                await self._lead(stopping)
            except (QuarryError, asyncpg.PostgresError, OSError) as error:
                log.warning("outbox relay: %s; trying again", error)
            await pause(stopping, RETRY_SECONDS)

    async def _lead(self, stopping: asyncio.Event) -> None:
        """Relay while this process holds the lease; one that dies or stands still loses it to another."""
        if not await self._leadership.take():
            return
        async with self._database.session() as session:
            name = channel(self._database.service)
            await session.add_listener(name, self._wake)
            try:
                await self._relay(session, stopping)
            finally:
                self._empty_at = None
                if not session.is_closed():
                    await session.remove_listener(name, self._wake)
        await self._leadership.give_back()

    def _wake(self, *_: object) -> None:
        self._woken.set()

    async def _relay(self, session: Connection, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        clean_at = loop.time()
        while not stopping.is_set():
            self._woken.clear()
            if session.is_closed():
                raise UnavailableError("the connection that wakes the relay is gone")
            if not await self._leadership.take():
                log.info("outbox relay: another process has taken over")
                return
            while True:
                read_at = time.monotonic()
                if await self.publish_batch() < BATCH:
                    self._empty_at = read_at
                    break
                if stopping.is_set() or not await self._leadership.take():
                    return
            if loop.time() >= clean_at:
                await self._clean()
                clean_at = loop.time() + CLEAN_SECONDS
            await woken(self._woken, stopping, POLL_SECONDS)

    async def publish_batch(self) -> int:
        """Publish the oldest messages that wait and mark those acknowledged; return how many waited.

        Raises `UnavailableError` when JetStream did not acknowledge all of them.
        """
        rows = await self._waiting()
        WAITING.set(len(rows))
        LAG.set(
            (datetime.now(rows[0]["created_at"].tzinfo) - rows[0]["created_at"]).total_seconds()
            if rows
            else 0
        )
        if not rows:
            return 0
        by_aggregate: dict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            by_aggregate[row["aggregate"]].append(row)
        done = await asyncio.gather(*(self._publish(group) for group in by_aggregate.values()))
        acknowledged = [identity for group in done for identity in group]
        if acknowledged:
            await self._mark(acknowledged)
            PUBLISHED.inc(len(acknowledged))
        if len(acknowledged) < len(rows):
            raise UnavailableError(f"JetStream did not take {len(rows) - len(acknowledged)} messages")
        return len(rows)

    async def _publish(self, rows: Sequence[asyncpg.Record]) -> list[int]:
        acknowledged = []
        for row in rows:
            headers = {"Nats-Msg-Id": str(row["message_id"])}
            if row["traceparent"]:
                headers["traceparent"] = row["traceparent"]
            try:
                async with self._slots:
                    await self._stream.publish(
                        row["subject"], row["body"], timeout=PUBLISH_SECONDS, headers=headers
                    )
            except (NatsError, OSError, TimeoutError) as error:
                log.warning("outbox: %s was not acknowledged: %s", row["subject"], type(error).__name__)
                break
            acknowledged.append(row["id"])
        return acknowledged

    async def _waiting(self) -> list[asyncpg.Record]:
        async with self._database.worker_transaction() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(
                """
                SELECT id, message_id, subject, aggregate, body, traceparent, created_at
                FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT $1
                """,
                BATCH,
            )
            return rows

    async def _mark(self, ids: Sequence[int]) -> None:
        async with self._database.worker_transaction() as connection:
            await connection.execute(
                "UPDATE outbox SET published_at = now() WHERE id = ANY($1::bigint[])", ids
            )

    async def _clean(self) -> None:
        async with self._database.worker_transaction() as connection:
            await connection.execute(
                "DELETE FROM outbox WHERE published_at < now() - make_interval(hours => $1)", KEPT_HOURS
            )

    async def republish(self, since: datetime, until: datetime, tenant_id: UUID | None = None) -> int:
        """Let events written from `since` on and before `until` be published once more; return how many.

        Those of one tenant, or of all. They keep their ids, so that consumers who know them do nothing twice,
        but not their `Nats-Msg-Id`: JetStream would swallow them. Commands are not repeated. Raises
        `ValidationError` when there are more than `MAX_EVENTS`.
        """
        async with self._database.worker_transaction() as connection:
            rows = await connection.fetch(_REPUBLISH, since, until, tenant_id, MAX_EVENTS + 1)
            if len(rows) > MAX_EVENTS:
                wrong = FieldError("until", f"more than {MAX_EVENTS} events until then; choose less")
                raise ValidationError("There are too many events.", errors=[wrong])
        self._woken.set()
        return len(rows)
