"""Pieces over a database of their own, empty when a test begins."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from quarry_common.blobs import open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.embedding.load import open_embedder
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.service import definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

from .parts import CountingEmbedder, Parts


@pytest.fixture(scope="module")
async def own(postgres_admin_dsn: str, environment: dict[str, str]) -> tuple[str, IndexerSettings]:
    """A database in which no job of another module is."""
    admin_dsn = create_database(postgres_admin_dsn)
    own = {
        **environment,
        "MIGRATE_DATABASE_URL": admin_dsn,
        "DATABASE_URL": with_login(admin_dsn, "quarry_indexer", environment["DATABASE_ROLE_PASSWORD"]),
    }
    await migrate_all(load(MigrateSettings, own), [definition])
    return admin_dsn, load(IndexerSettings, own)


@pytest.fixture(scope="module")
async def pieces(own: tuple[str, IndexerSettings]) -> AsyncIterator[Parts]:
    settings = own[1]
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(connect_pool(settings, "indexer"))
        client = await stack.enter_async_context(connect_qdrant(settings))
        parser = await stack.enter_async_context(ParserPool(settings))
        pool = await stack.enter_async_context(open_embedder(settings))
        assert isinstance(pool, EmbedderPool)
        embedder = CountingEmbedder(pool)
        index = VectorIndex(client, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        yield Parts(database, open_store(settings), index, parser, embedder)


@pytest.fixture
async def parts(pieces: Parts, own: tuple[str, IndexerSettings]) -> Parts:
    """Nothing waits to be done when a test begins."""
    admin = await asyncpg.connect(own[0])
    await admin.execute("TRUNCATE indexer.jobs, indexer.turns, indexer.documents, indexer.embeddings CASCADE")
    await admin.close()
    pieces.embedder.texts.clear()
    pieces.embedder.fails_after = None
    return pieces
