"""An installation with tenants that have something in every store, of which purges remove it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import asyncpg
import psutil
import pytest
from nats.aio.client import Client
from services.tenants.tests.integration.conftest import PASSWORD, new_schema, until

from quarry_common.contracts import subjects
from quarry_common.contracts.analytics import PURGE_ANALYTICS
from quarry_common.contracts.api_keys import (
    CreateKey,
    Grant,
    KeyTally,
    ReportKeyUse,
    RotateKey,
)
from quarry_common.contracts.caches import (
    FORGET,
    PURGE_REDIS,
    CacheForgotten,
    ForgetCached,
    PurgeRedis,
    RedisPurged,
)
from quarry_common.contracts.purging import (
    PURGE_DOCUMENTS,
    Counts,
    Purged,
    PurgeReceipt,
    PurgeTenant,
    ReceiptOf,
)
from quarry_common.contracts.streams import STREAMS, subjects_of_tenant
from quarry_common.contracts.tenancy import (
    TENANT_SCOPES,
    CreateTenant,
    DeleteTenant,
    Tenant,
)
from quarry_common.contracts.usage import LeaseSearches
from quarry_common.contracts.webhooks import PURGE_WEBHOOKS
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcServer
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.settings import NatsSettings, PostgresSettings
from quarry_local.ports import free_port
from quarry_local.servers import nats
from quarry_local.servers.postgres import with_login
from quarry_local.servers.program import Program
from quarry_tenants.handlers.audit import Audit
from quarry_tenants.handlers.key_use import KeyUse
from quarry_tenants.handlers.keys import Keys
from quarry_tenants.handlers.purges import Purges
from quarry_tenants.handlers.searches import Searches
from quarry_tenants.handlers.tenants import Tenants
from quarry_tenants.purging import Purging
from quarry_tenants.stores import Store, Stores

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

KEPT_TABLES = {"organizations", "purges"}
GRACE = timedelta(days=7)
PIECE = 10
DOCUMENTS, SEARCHES, DELIVERIES, CACHED = 25, 15, 4, 6


class Elsewhere:
    """The other services: an indexer with documents, one with webhooks, and a search service with a cache."""

    def __init__(self) -> None:
        self.documents: Counter[UUID] = Counter()
        self.searches: Counter[UUID] = Counter()
        self.deliveries: Counter[UUID] = Counter()
        self.cached: Counter[UUID] = Counter()
        self.in_memory: Counter[UUID] = Counter()
        self.asked: Counter[UUID] = Counter()
        self.silent_for: set[UUID] = set()

    async def purge_documents(self, asked: PurgeTenant) -> Purged:
        self.asked[asked.tenant_id] += 1
        if asked.tenant_id in self.silent_for:
            raise UnavailableError("The index is away.")
        removed = min(PIECE, self.documents[asked.tenant_id])
        self.documents[asked.tenant_id] -= removed
        left = self.documents[asked.tenant_id]
        return Purged(
            {"vectors.points": 3 * removed, "postgres.indexer.outbox": removed},
            {"vectors.points": 3 * left, "postgres.indexer.outbox": 0},
        )

    async def purge_searches(self, asked: PurgeTenant) -> Purged:
        removed = min(PIECE, self.searches[asked.tenant_id])
        self.searches[asked.tenant_id] -= removed
        return Purged(
            {"postgres.analytics.searches": removed},
            {"postgres.analytics.searches": self.searches[asked.tenant_id]},
        )

    async def purge_webhooks(self, asked: PurgeTenant) -> Purged:
        removed = self.deliveries.pop(asked.tenant_id, 0)
        return Purged({"postgres.webhooks.deliveries": removed}, {"postgres.webhooks.deliveries": 0})

    async def purge_redis(self, asked: PurgeRedis) -> RedisPurged:
        assert asked.tenant_id is not None
        return RedisPurged(self.cached.pop(asked.tenant_id, 0), complete=True)

    async def forget(self, asked: ForgetCached) -> CacheForgotten:
        assert asked.tenant_id is not None
        return CacheForgotten("search", "one", self.in_memory.pop(asked.tenant_id, 0))


async def _full(_: UUID) -> Purged:
    return Purged({}, {"held.things": 1})


HOLD = Store("held", "nobody", _full)
"""A store that is never empty: what comes after it is not looked at."""


class Installation:
    """A database and a bus with tenants that have something in every store."""

    def __init__(self, database: Database, admin: Connection, bus: Client, elsewhere: Elsewhere) -> None:
        self.database = database
        self.admin = admin
        self.bus = bus
        self.elsewhere = elsewhere
        self.stores = Stores(database, bus, gather_seconds=0.03).all()
        self.tenants = Tenants(database, GRACE)
        self.keys = Keys(database)
        self.audit = Audit(database)

    def purging(self, *, look_seconds: float = 0.02, stores: list[Store] | None = None) -> Purging:
        return Purging(self.database, stores or self.stores, look_seconds=look_seconds, pause_seconds=0.05)

    async def tenant(self, slug: str) -> Tenant:
        tenant = await self.tenants.create(
            CreateTenant(slug, slug.title(), cors_origins=["https://a.example"])
        )
        await self._keys(tenant)
        day = datetime.now(UTC).date()
        await Searches(self.database).lease(LeaseSearches(tenant.id, day, 100, 5, 0, new_id()))
        await self.admin.execute(
            "INSERT INTO domains (tenant_id, name, token) VALUES ($1, $2, 't')", tenant.id, slug
        )
        await self.admin.execute(
            """
            INSERT INTO signing_keys (id, tenant_id, name, public_key)
            VALUES (gen_random_uuid(), $1, 'signs', sha256('x'))
            """,
            tenant.id,
        )
        for subject in _sent_of(tenant.id):
            await self.bus.jetstream().publish(subject, b"{}")
        self.elsewhere.documents[tenant.id] = DOCUMENTS
        self.elsewhere.searches[tenant.id] = SEARCHES
        self.elsewhere.deliveries[tenant.id] = DELIVERIES
        self.elsewhere.cached[tenant.id] = CACHED
        self.elsewhere.in_memory[tenant.id] = 1
        return tenant

    async def _keys(self, tenant: Tenant) -> None:
        grant = Grant(TENANT_SCOPES)
        made = await self.keys.create(CreateKey(tenant.id, "first", grant, grant, idempotency_key="once"))
        # A chain of keys that refer to each other.
        for _ in range(3):
            made = await self.keys.rotate(RotateKey(tenant.id, made.api_key.id, grant, 60))
        now = datetime.now(UTC)
        tallies = [
            KeyTally(tenant.id, made.api_key.id, (now - timedelta(days=ago)).date(), 5, 1, now)
            for ago in range(3)
        ]
        await KeyUse(self.database, timedelta(days=30)).report(ReportKeyUse(new_id(), tallies))

    async def due(self, tenant: Tenant, seconds: float = 0.0) -> None:
        """Delete a tenant; its grace is over in so many seconds."""
        await self.tenants.delete(DeleteTenant(tenant.id))
        await self.admin.execute(
            "UPDATE organizations SET purge_at = now() + make_interval(secs => $2) WHERE id = $1",
            tenant.id,
            seconds,
        )

    async def state(self, tenant: Tenant) -> str:
        found: str = await self.admin.fetchval("SELECT state FROM organizations WHERE id = $1", tenant.id)
        return found

    async def receipt(self, tenant: Tenant) -> PurgeReceipt:
        return await Purges(self.database).receipt(ReceiptOf(tenant.slug))

    async def tables(self) -> list[str]:
        """Every table with rows of tenants, as the catalogue knows them."""
        rows = await self.admin.fetch(
            """
            SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE a.attname = 'tenant_id' AND c.relnamespace = 'tenants'::regnamespace
                AND c.relkind IN ('r', 'p')
            """
        )
        return sorted({row["relname"] for row in rows} - KEPT_TABLES)

    async def rows(self, tenant: Tenant) -> dict[str, list[str]]:
        """Every row of a tenant, by table."""
        return {
            table: [
                row["text"]
                for row in await self.admin.fetch(
                    f"SELECT t::text AS text FROM {table} t WHERE tenant_id = $1 ORDER BY 1", tenant.id
                )
            ]
            for table in await self.tables()
        }

    async def messages(self, tenant: Tenant) -> int:
        counts = 0
        for stream, subject in subjects_of_tenant(tenant.id):
            info = await self.bus.jetstream().stream_info(stream, subjects_filter=subject)
            counts += sum((info.state.subjects or {}).values())
        return counts

    async def expected(self, tenant: Tenant) -> Counts:
        """What a purge has to remove: all there is, and the log's last entry, which tells that it begins."""
        counts = Counter(
            {f"postgres.tenants.{table}": len(rows) for table, rows in (await self.rows(tenant)).items()}
        )
        counts["postgres.tenants.audit_entries"] += 1
        counts["postgres.indexer.outbox"] = self.elsewhere.documents[tenant.id]
        counts["postgres.analytics.searches"] = self.elsewhere.searches[tenant.id]
        counts["postgres.webhooks.deliveries"] = self.elsewhere.deliveries[tenant.id]
        counts["vectors.points"] = 3 * self.elsewhere.documents[tenant.id]
        counts["cache.entries"] = self.elsewhere.cached[tenant.id] + self.elsewhere.in_memory[tenant.id]
        counts["streams.messages"] = await self.messages(tenant)
        return dict(counts)


def _sent_of(tenant_id: UUID) -> list[str]:
    return [
        subjects.event(tenant_id, "document.indexed"),
        subjects.event(tenant_id, "tenant.created"),
        subjects.command("indexer", tenant_id, "index"),
        subjects.dead_letter("indexer", str(tenant_id), "indexer-commands"),
        f"log.v1.{tenant_id}.search",
    ]


@pytest.fixture(scope="session")
async def own_bus(
    server_folder: Path, start_server: Callable[[Program], psutil.Process]
) -> AsyncIterator[Client]:
    """A bus without the services of other tests."""
    port = free_port()
    start_server(nats.program(server_folder / "nats-of-purges", port, PASSWORD))
    async with broker.connect(NatsSettings(nats_url=nats.url(port, PASSWORD)), "test") as client:
        await provision(client.jetstream(), STREAMS, [], replicas=1)
        yield client


@pytest.fixture(scope="session")
async def own_dsn(postgres_admin_dsn: str) -> str:
    """A database in which nobody else purges."""
    return await new_schema(postgres_admin_dsn)


@pytest.fixture
async def installation(own_dsn: str, own_bus: Client) -> AsyncIterator[Installation]:
    elsewhere, stopping = Elsewhere(), asyncio.Event()
    indexer, search = RpcServer(own_bus, "indexer"), RpcServer(own_bus, "search")
    analytics = RpcServer(own_bus, "analytics")
    analytics.answer(PURGE_ANALYTICS, elsewhere.purge_searches)
    webhooks = RpcServer(own_bus, "webhooks")
    webhooks.answer(PURGE_WEBHOOKS, elsewhere.purge_webhooks)
    indexer.answer(PURGE_DOCUMENTS, elsewhere.purge_documents)
    search.answer(PURGE_REDIS, elsewhere.purge_redis)
    search.answer(FORGET, elsewhere.forget, each=True)
    answering = [
        asyncio.create_task(server.run(stopping)) for server in (indexer, search, analytics, webhooks)
    ]
    await asyncio.sleep(0)
    await own_bus.flush()
    settings = PostgresSettings(database_url=with_login(own_dsn, "quarry_tenants", PASSWORD))  # type: ignore[arg-type]
    admin = await asyncpg.connect(own_dsn, server_settings={"search_path": "tenants"})
    try:
        async with connect_pool(settings, "tenants") as database:
            yield Installation(database, admin, own_bus, elsewhere)
    finally:
        await admin.close()
        stopping.set()
        await asyncio.gather(*answering)


async def purged(installation: Installation, *tenants: Tenant) -> None:
    """Wait until tenants are purged."""
    for tenant in tenants:
        await until(lambda tenant=tenant: installation.state(tenant), "purged", seconds=20)
