import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client

from quarry_common import keys
from quarry_common.contracts.api_keys import CREATE_KEY, CreatedKey, CreateKey, Grant, KeyLabel
from quarry_common.contracts.events import CloudEvent, EventData, decode_data
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.tenancy import (
    CREATE_TENANT,
    LIST_TENANTS,
    TENANT_SCOPES,
    CreateTenant,
    ListTenants,
    QuotaChanges,
    Scope,
    Tenant,
)
from quarry_common.errors import UnavailableError
from quarry_common.messaging import broker, outbox
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import migrate, read
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.service import Part, Service
from quarry_common.settings import load
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database
from quarry_tenants.service import build, definition
from quarry_tenants.settings import TenantsSettings

from .dns_server import DnsServer, serving_names

PASSWORD = "of-the-test"
OPERATOR_KEY = keys.generate(KeyLabel.LIVE)


async def new_schema(postgres_admin_dsn: str) -> str:
    """Make a database with the service's schema; the DSN is the owner's."""
    dsn = create_database(postgres_admin_dsn, "tenants")
    admin = await asyncpg.connect(dsn)
    try:
        assert definition.migrations is not None
        steps = read([outbox.MIGRATIONS, idempotency.MIGRATIONS, definition.migrations], "tenants")
        await migrate(admin, "tenants", steps, PASSWORD)
    finally:
        await admin.close()
    return dsn


@pytest.fixture(scope="session")
async def tenants_admin_dsn(postgres_admin_dsn: str) -> str:
    """The database of the service; the DSN is the owner's."""
    return await new_schema(postgres_admin_dsn)


@pytest.fixture(scope="session")
def tenants_dsn(tenants_admin_dsn: str) -> str:
    """The DSN of the service's own role."""
    return with_login(tenants_admin_dsn, "quarry_tenants", PASSWORD)


@pytest.fixture(scope="session")
async def names() -> AsyncIterator[DnsServer]:
    """The DNS as the service sees it."""
    async with serving_names() as server:
        yield server


@pytest.fixture(scope="session")
def settings(tenants_dsn: str, nats_url: str, names: DnsServer) -> TenantsSettings:
    return load(
        TenantsSettings,
        {
            "DATABASE_URL": tenants_dsn,
            "NATS_URL": nats_url,
            "OPERATOR_KEY": OPERATOR_KEY,
            "DOMAIN_NAMESERVERS": f"127.0.0.1:{names.port}",
            "RESERVED_DOMAINS": "quarry.example",
        },
    )


@pytest.fixture(scope="session")
async def bus(settings: TenantsSettings) -> AsyncIterator[Client]:
    async with broker.connect(settings, "test") as client:
        await provision(client.jetstream(), [EVENTS], [], replicas=1)
        yield client


@asynccontextmanager
async def running(settings: TenantsSettings) -> AsyncIterator[Service]:
    """The parts of the service at work in this process."""
    stopping = asyncio.Event()
    async with build(settings) as service:
        parts = [asyncio.create_task(part.run(stopping)) for part in service.parts]
        yield service
        stopping.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*parts)


@pytest.fixture(scope="session")
async def service(settings: TenantsSettings, bus: Client) -> AsyncIterator[Service]:
    async with running(settings) as started:
        yield started


@pytest.fixture(scope="session")
async def rpc(bus: Client, service: Service) -> RpcClient:
    client = RpcClient(bus)
    async with asyncio.timeout(10):
        while True:
            # Until the service listens, the bus says at once that nobody does.
            with suppress(UnavailableError):
                await client.call(LIST_TENANTS, ListTenants())
                return client


class Tenancy:
    """Makes tenants and keys as a caller would."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._made = 0

    async def tenant(self, **quotas: int) -> Tenant:
        self._made += 1
        request = CreateTenant(
            f"tenant-{self._made}", f"Tenant {self._made}", quota_changes=QuotaChanges(**quotas)
        )
        return await self._rpc.call(CREATE_TENANT, request)

    async def key(self, tenant_id: UUID, name: str = "a key") -> CreatedKey:
        return await self._rpc.call(
            CREATE_KEY, CreateKey(tenant_id, name, Grant(frozenset({Scope.SEARCH})), Grant(TENANT_SCOPES))
        )


@pytest.fixture(scope="session")
def tenancy(rpc: RpcClient) -> Tenancy:
    return Tenancy(rpc)


@pytest.fixture
async def admin(tenants_admin_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of the owner, who sees everything."""
    connection = await asyncpg.connect(tenants_admin_dsn, server_settings={"search_path": "tenants"})
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def as_service(tenants_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of the service's own role."""
    connection = await asyncpg.connect(tenants_dsn, server_settings={"search_path": "tenants"})
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def database(settings: TenantsSettings) -> AsyncIterator[Database]:
    """Connections of a process of the service's own."""
    async with connect_pool(settings, "tenants") as connected:
        yield connected


@asynccontextmanager
async def working(part: Part) -> AsyncIterator[None]:
    """A part of the service at work."""
    stopping = asyncio.Event()
    work = asyncio.create_task(part.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        async with asyncio.timeout(10):
            await work


async def until(read: Callable[[], Awaitable[object]], wanted: object, seconds: float = 10.0) -> None:
    """Wait until what is read is as wanted."""
    deadline = time.monotonic() + seconds
    while (found := await read()) != wanted:
        assert time.monotonic() < deadline, f"{found!r} did not become {wanted!r}"
        await asyncio.sleep(0.01)


async def told(
    admin: "asyncpg.Connection[asyncpg.Record]", tenant_id: UUID, *types: type[EventData]
) -> list[EventData]:
    """The events that were written for a tenant, of the given types or all, in their order."""
    rows = await admin.fetch("SELECT body FROM outbox WHERE tenant_id = $1 ORDER BY id", tenant_id)
    found = [decode_data(msgspec.json.decode(row["body"], type=CloudEvent)) for row in rows]
    return [event for event in found if not types or isinstance(event, types)]
