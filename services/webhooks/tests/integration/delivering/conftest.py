import asyncio
import base64
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client

from quarry_common.contracts.events import CloudEvent, CollectionDeleted, EventData, envelope, subject_of
from quarry_common.contracts.streams import DEAD_LETTERS, EVENTS, WEBHOOKS_EVENTS
from quarry_common.ids import new_id
from quarry_common.messaging import broker, outbox
from quarry_common.messaging.provision import provision
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import migrate, read
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.service import Part
from quarry_common.settings import NatsSettings, PostgresSettings, load
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.scheduler import Scheduler
from quarry_webhooks.egress.sending import Limits, Sender
from quarry_webhooks.egress.urls import Policy
from quarry_webhooks.repository import queues

from .receivers import Receiver, receiving

PASSWORD = "of-the-test"
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
FORMER_SECRET = "whsec_" + base64.b64encode(b"f" * 32).decode()
SOON = (0.0, 0.05, 0.05, 0.05)
"""A schedule for tests that do not want to wait."""


class PlainSealer:
    """Keeps what is sealed as it is."""

    def open(self, tenant_id: UUID, endpoint_id: UUID, sealed: bytes) -> bytes:
        return sealed


class Clock:
    """The time, which a test may let pass at once."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def passes(self, **span: float) -> None:
        self._ahead += timedelta(**span)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was moved is looked at soon."""
    monkeypatch.setattr("quarry_webhooks.delivering.scheduler.POLL_SECONDS", 0.1)


@pytest.fixture(scope="session")
async def webhooks_admin_dsn(postgres_admin_dsn: str) -> str:
    dsn = create_database(postgres_admin_dsn, "webhooks")
    admin = await asyncpg.connect(dsn)
    try:
        steps = read(
            [outbox.MIGRATIONS, idempotency.MIGRATIONS, files("quarry_webhooks") / "migrations"], "webhooks"
        )
        await migrate(admin, "webhooks", steps, PASSWORD)
    finally:
        await admin.close()
    return dsn


@pytest.fixture
async def admin(webhooks_admin_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of the owner, who sees everything; no row is left to the next test."""
    connection = await asyncpg.connect(webhooks_admin_dsn, server_settings={"search_path": "webhooks"})
    try:
        yield connection
        await connection.execute(
            "TRUNCATE endpoints, queues, turns, messages, deliveries, attempts, hours, latencies, replays, "
            "outbox, leaders"
        )
    finally:
        await connection.close()


@pytest.fixture
async def database(webhooks_admin_dsn: str) -> AsyncIterator[Database]:
    dsn = with_login(webhooks_admin_dsn, "quarry_webhooks", PASSWORD)
    async with connect_pool(load(PostgresSettings, {"DATABASE_URL": dsn}), "webhooks") as connected:
        yield connected


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with broker.connect(load(NatsSettings, {"NATS_URL": nats_url}), "test") as client:
        await provision(client.jetstream(), [EVENTS, DEAD_LETTERS], [WEBHOOKS_EVENTS], replicas=1)
        await client.jetstream().purge_stream("EVENTS")
        await client.jetstream().purge_stream("DEAD_LETTERS")
        yield client


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    policy = Policy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True)
    made = Sender(policy, Limits(connect_seconds=2, total_seconds=2))
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tools(sender: Sender, clock: Clock) -> Tools:
    return Tools(sender, PlainSealer(), clock)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


class World:
    """Writes what the service's handlers would, and reads what became of it."""

    def __init__(
        self, admin: "asyncpg.Connection[asyncpg.Record]", database: Database, bus: Client, clock: Clock
    ) -> None:
        self.admin = admin
        self.database = database
        self._stream = bus.jetstream()
        self._clock = clock
        self._position = 0

    async def endpoint(
        self,
        url: str,
        *,
        tenant_id: UUID | None = None,
        event_types: tuple[str, ...] = ("*",),
        headers: dict[str, str] | None = None,
        disabled: str | None = None,
        ordered: bool = False,
        requests_per_second: int | None = None,
    ) -> tuple[UUID, UUID]:
        """Return the ids of the tenant and the endpoint."""
        tenant_id, endpoint_id = tenant_id or uuid4(), new_id()
        await self.admin.execute(
            """
            INSERT INTO endpoints (id, tenant_id, url, description, event_types, header_names, headers,
                secret, enabled, disabled_reason, ordered, requests_per_second)
            VALUES ($1, $2, $3, '', $4, $5, $6, $7, $8, $9, $10, $11)
            """,
            endpoint_id, tenant_id, url, list(event_types), list(headers or {}),
            msgspec.json.encode(headers or {}), SECRET.encode(), disabled is None, disabled, ordered,
            requests_per_second,
        )  # fmt: skip
        await self.admin.execute(
            "INSERT INTO queues (endpoint_id, tenant_id) VALUES ($1, $2)", endpoint_id, tenant_id
        )
        return tenant_id, endpoint_id

    async def deliveries(
        self,
        tenant_id: UUID,
        endpoint_id: UUID,
        count: int = 1,
        *,
        forced: bool = False,
        state: str = "pending",
    ) -> list[str]:
        """Make deliveries that are due; return their webhook ids, in order."""
        made = []
        async with self.database.tenant_transaction(tenant_id) as connection:
            for _ in range(count):
                self._position += 1
                message_id = new_id()
                now = self._clock()
                await connection.execute(
                    """
                    INSERT INTO messages (tenant_id, id, event_type, subject, payload, occurred_at)
                    VALUES ($1, $2, 'a.b', 's', '{}', $3)
                    """,
                    tenant_id, message_id, now,
                )  # fmt: skip
                await connection.execute(
                    """
                    INSERT INTO deliveries (id, tenant_id, endpoint_id, message_id, event_type, subject,
                        position, state, forced, next_attempt_at, held_at, created_at)
                    VALUES ($1, $2, $3, $4, 'a.b', 's', $5, $6, $7, $8, $9, $10)
                    """,
                    new_id(), tenant_id, endpoint_id, message_id, self._position, state, forced,
                    now if state == "pending" else None, now if state == "held" else None, now,
                )  # fmt: skip
                made.append(str(message_id))
            await queues.wake(connection, endpoint_id)
        return made

    async def publish(self, tenant_id: UUID, *events: EventData) -> list[str]:
        """Publish events as a relay would; return their ids."""
        made = []
        for event in events or (CollectionDeleted("manuals", 1),):
            cloud_event = envelope(event, source="indexer", tenant_id=tenant_id)
            await self.publish_raw(subject_of(cloud_event), msgspec.json.encode(cloud_event), cloud_event.id)
            made.append(cloud_event.id)
        return made

    async def publish_raw(self, subject: str, body: bytes, message_id: str = "") -> None:
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        await self._stream.publish(subject, body, headers=headers)

    async def states(self, endpoint_id: UUID) -> list[str]:
        rows = await self.admin.fetch(
            "SELECT state FROM deliveries WHERE endpoint_id = $1 ORDER BY position, id", endpoint_id
        )
        return [row["state"] for row in rows]

    async def all_are(self, endpoint_id: UUID, state: str, count: int | None = None) -> bool:
        found = await self.states(endpoint_id)
        return set(found) <= {state} and (count is None or len(found) == count)

    async def queue(self, endpoint_id: UUID) -> asyncpg.Record:
        row = await self.admin.fetchrow("SELECT * FROM queues WHERE endpoint_id = $1", endpoint_id)
        assert row is not None
        return row

    async def is_given_back(self, endpoint_id: UUID) -> bool:
        return (await self.queue(endpoint_id))["lease_token"] is None

    async def told(self, tenant_id: UUID) -> list[CloudEvent]:
        rows = await self.admin.fetch("SELECT body FROM outbox WHERE tenant_id = $1 ORDER BY id", tenant_id)
        return [msgspec.json.decode(row["body"], type=CloudEvent) for row in rows]


@pytest.fixture
async def world(
    admin: "asyncpg.Connection[asyncpg.Record]", database: Database, bus: Client, clock: Clock
) -> World:
    return World(admin, database, bus, clock)


@asynccontextmanager
async def working(*parts: Part) -> AsyncIterator[None]:
    """Parts of the service at work."""
    stopping = asyncio.Event()
    work = [asyncio.create_task(part.run(stopping)) for part in parts]
    try:
        yield
    finally:
        stopping.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*work)


@pytest.fixture
async def delivering(world: World, tools: Tools) -> AsyncIterator[None]:
    """A process that delivers, by a schedule that does not last."""
    async with working(Scheduler(world.database, tools, Rules(delays_seconds=SOON))):
        yield


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"the condition did not come true within {seconds} s"
        await asyncio.sleep(0.01)
