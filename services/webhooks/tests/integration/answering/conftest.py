"""The service as callers see it: its requests answered on a real database and a real bus."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client

from quarry_common.contracts.events import CloudEvent, EventData, decode_data
from quarry_common.contracts.streams import CONSUMERS, EVENTS
from quarry_common.contracts.webhooks import (
    CREATE_ENDPOINT,
    LIST_ENDPOINTS,
    SEND_TEST,
    CreateEndpoint,
    Delivery,
    Endpoint,
    EndpointRef,
    EndpointWithSecret,
    ListEndpoints,
    NewEndpoint,
    SendTest,
)
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging import broker, outbox
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcClient, RpcServer
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import migrate, read
from quarry_common.service import Service
from quarry_common.settings import load
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database
from quarry_webhooks.sealing import Sealer
from quarry_webhooks.service import build, definition
from quarry_webhooks.settings import WebhooksSettings

PASSWORD = "of-the-test"
URL = "https://acme.example/hooks"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(scope="session")
async def hooks_admin_dsn(postgres_admin_dsn: str) -> str:
    """A database with the service's schema; the DSN is the owner's."""
    dsn = create_database(postgres_admin_dsn, "webhooks")
    admin = await asyncpg.connect(dsn)
    try:
        assert definition.migrations is not None
        steps = read([outbox.MIGRATIONS, idempotency.MIGRATIONS, definition.migrations], "webhooks")
        await migrate(admin, "webhooks", steps, PASSWORD)
    finally:
        await admin.close()
    return dsn


@pytest.fixture(scope="session")
def settings(hooks_admin_dsn: str, nats_url: str) -> WebhooksSettings:
    return load(
        WebhooksSettings,
        {
            "DATABASE_URL": with_login(hooks_admin_dsn, "quarry_webhooks", PASSWORD),
            "NATS_URL": nats_url,
            "WEBHOOK_ENCRYPTION_KEYS": base64.b64encode(os.urandom(32)).decode(),
        },
    )


@pytest.fixture(scope="session")
def sealer(settings: WebhooksSettings) -> Sealer:
    return Sealer(settings.encryption_keys)


@pytest.fixture(scope="session")
async def bus(settings: WebhooksSettings) -> AsyncIterator[Client]:
    async with broker.connect(settings, "test") as client:
        mine = [consumer for consumer in CONSUMERS if consumer.stream == EVENTS.name]
        await provision(client.jetstream(), [EVENTS], mine, replicas=1)
        yield client


@pytest.fixture(scope="session")
async def service(settings: WebhooksSettings, bus: Client) -> AsyncIterator[Service]:
    stopping = asyncio.Event()
    async with build(settings) as service:
        # What answers, and what publishes; nothing is delivered here.
        answering = [part for part in service.parts if isinstance(part, RpcServer | Relay)]
        parts = [asyncio.create_task(part.run(stopping)) for part in answering]
        yield service
        stopping.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*parts)


@pytest.fixture(scope="session")
async def rpc(bus: Client, service: Service) -> RpcClient:
    client = RpcClient(bus)
    async with asyncio.timeout(10):
        while True:
            with suppress(UnavailableError):  # until the service listens
                await client.call(LIST_ENDPOINTS, ListEndpoints(uuid4(), 1))
                return client


class Tenant:
    """A tenant and what it asks for."""

    def __init__(self, rpc: RpcClient) -> None:
        self.id = new_id()
        self.rpc = rpc

    async def create(
        self, *, limit: int | None = None, key: str | None = None, **fields: object
    ) -> EndpointWithSecret:
        new = NewEndpoint(**{"url": URL, "enabled": False, **fields})  # type: ignore[arg-type]
        return await self.rpc.call(CREATE_ENDPOINT, CreateEndpoint(self.id, new, limit, key))

    async def endpoint(self, **fields: object) -> Endpoint:
        return (await self.create(**fields)).endpoint  # type: ignore[arg-type]

    def ref(self, endpoint: Endpoint, revision: int | None = None) -> EndpointRef:
        return EndpointRef(self.id, endpoint.id, revision=revision)

    async def test(self, endpoint: Endpoint, key: str | None = None) -> Delivery:
        return await self.rpc.call(SEND_TEST, SendTest(self.ref(endpoint), key))


@pytest.fixture
def tenant(rpc: RpcClient) -> Tenant:
    return Tenant(rpc)


@pytest.fixture
def stranger(rpc: RpcClient) -> Tenant:
    return Tenant(rpc)


@pytest.fixture
async def admin(hooks_admin_dsn: str) -> AsyncIterator[Connection]:
    """A connection of the owner, who sees everything."""
    connection = await asyncpg.connect(hooks_admin_dsn, server_settings={"search_path": "webhooks"})
    try:
        yield connection
    finally:
        await connection.close()


async def told(admin: Connection, tenant_id: UUID) -> list[EventData]:
    """The events that were written for a tenant, in their order."""
    rows = await admin.fetch("SELECT body FROM outbox WHERE tenant_id = $1 ORDER BY id", tenant_id)
    return [decode_data(msgspec.json.decode(row["body"], type=CloudEvent)) for row in rows]


async def delivery(
    admin: Connection, endpoint: Endpoint, tenant: Tenant, state: str, **columns: object
) -> UUID:
    """Store a delivery as if an event had been delivered, or not; return its id."""
    delivery_id, message_id = new_id(), new_id()
    values = {
        "event_type": "document.indexed",
        "created_at": datetime.now(UTC),
        "next_attempt_at": datetime(2100, 1, 1, tzinfo=UTC) if state == "pending" else None,
        "held_at": datetime.now(UTC) if state == "held" else None,
        "attempts": 0,
        **columns,
    }
    await admin.execute(
        """
        INSERT INTO messages (tenant_id, id, event_type, subject, payload, occurred_at)
        VALUES ($1, $2, $3, 'a document', '{"id":"x"}', now())
        """,
        tenant.id,
        message_id,
        values["event_type"],
    )
    await admin.execute(
        """
        INSERT INTO deliveries (id, tenant_id, endpoint_id, message_id, event_type, subject, position, state,
            created_at, next_attempt_at, held_at, attempts)
        VALUES ($1, $2, $3, $4, $5, 'a document', 1, $6, $7, $8, $9, $10)
        """,
        delivery_id,
        tenant.id,
        endpoint.id,
        message_id,
        values["event_type"],
        state,
        values["created_at"],
        values["next_attempt_at"],
        values["held_at"],
        values["attempts"],
    )
    return delivery_id
