"""A database of their own, in which nothing takes a job."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from quarry_common.blobs import open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.messaging.broker import connect
from quarry_common.messaging.outbox import Relay
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.service import definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

from .tenant import Admin, Tenant


@pytest.fixture(scope="session")
async def own(postgres_admin_dsn: str, environment: dict[str, str]) -> dict[str, str]:
    admin_dsn = create_database(postgres_admin_dsn)
    own = {
        **environment,
        "MIGRATE_DATABASE_URL": admin_dsn,
        "DATABASE_URL": with_login(admin_dsn, "quarry_indexer", environment["DATABASE_ROLE_PASSWORD"]),
    }
    await migrate_all(load(MigrateSettings, own), [definition])
    return own


@pytest.fixture(scope="session")
async def database(own: dict[str, str]) -> AsyncIterator[Database]:
    """The database, and the relay without which deletions wait a second for being told of."""
    settings = load(IndexerSettings, own)
    stopping = asyncio.Event()
    async with connect_pool(settings, "indexer") as opened, connect(settings, "test") as connection:
        relay = asyncio.create_task(Relay(opened, connection).run(stopping))
        yield opened
        stopping.set()
        await relay


@pytest.fixture(scope="session")
async def admin(own: dict[str, str]) -> AsyncIterator[Admin]:
    async with asyncpg.create_pool(own["MIGRATE_DATABASE_URL"], min_size=1, max_size=2) as pool:
        yield pool


@pytest.fixture(scope="session")
async def index(own: dict[str, str]) -> AsyncIterator[VectorIndex]:
    settings = load(IndexerSettings, own)
    async with connect_qdrant(settings) as qdrant:
        index = VectorIndex(qdrant, settings, embedder_id="counted@test", dimensions=4)
        await index.ensure()
        yield index


@pytest.fixture
def tenant(database: Database, index: VectorIndex, admin: Admin, own: dict[str, str]) -> Tenant:
    return Tenant(database, open_store(load(IndexerSettings, own)), index, admin)
