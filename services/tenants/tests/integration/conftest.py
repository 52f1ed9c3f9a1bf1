import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import asyncpg
import pytest
from nats.aio.client import Client

from quarry_common import keys
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.tenancy import (
    CREATE_KEY,
    CREATE_TENANT,
    LIST_TENANTS,
    TENANT_SCOPES,
    CreatedKey,
    CreateKey,
    CreateTenant,
    KeyLabel,
    ListTenants,
    Scope,
    Tenant,
)
from quarry_common.errors import UnavailableError
from quarry_common.messaging import broker, outbox
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import migrate, read
from quarry_common.service import Service
from quarry_common.settings import load
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database
from quarry_tenants.service import build, definition
from quarry_tenants.settings import TenantsSettings

PASSWORD = "of-the-test"
OPERATOR_KEY = keys.generate(KeyLabel.LIVE)


@pytest.fixture(scope="session")
async def tenants_admin_dsn(postgres_admin_dsn: str) -> str:
    """A database with the service's schema; the DSN is the owner's."""
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
def tenants_dsn(tenants_admin_dsn: str) -> str:
    """The DSN of the service's own role."""
    return with_login(tenants_admin_dsn, "quarry_tenants", PASSWORD)


@pytest.fixture(scope="session")
def settings(tenants_dsn: str, nats_url: str) -> TenantsSettings:
    return load(
        TenantsSettings,
        {
            "DATABASE_URL": tenants_dsn,
            "NATS_URL": nats_url,
            "OPERATOR_KEY": OPERATOR_KEY,
            "MAX_KEYS_PER_TENANT": "40",
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

    async def tenant(self) -> Tenant:
        self._made += 1
        return await self._rpc.call(
            CREATE_TENANT, CreateTenant(f"tenant-{self._made}", f"Tenant {self._made}")
        )

    async def key(self, tenant_id: UUID, name: str = "a key") -> CreatedKey:
        return await self._rpc.call(
            CREATE_KEY, CreateKey(tenant_id, name, frozenset({Scope.SEARCH}), granted_by=TENANT_SCOPES)
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
