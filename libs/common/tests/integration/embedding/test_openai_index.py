"""The vector index is bound to the embedder, also to a remote one."""

import pytest
from libs.common.tests.embedding_server import MODEL, EmbeddingServer
from libs.common.tests.integration.embedding.conftest import NO_REDIS

from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.embedding.load import open_embedder
from quarry_common.settings import load
from quarry_common.vectors.connection import connect
from quarry_common.vectors.errors import EmbedderMismatchError
from quarry_common.vectors.index import VectorIndex
from quarry_local.testing import create_database


async def check(settings: MigrateSettings) -> None:
    async with open_embedder(settings) as embedder, connect(settings) as client:
        dimensions = embedder.dimensions
        await VectorIndex(client, settings, embedder_id=embedder.id, dimensions=dimensions).check()


async def test_migrate_makes_the_index_of_a_remote_embedder_and_no_others(
    server: EmbeddingServer, postgres_admin_dsn: str, nats_url: str, qdrant_url: str
) -> None:
    environ = {
        "MIGRATE_DATABASE_URL": create_database(postgres_admin_dsn),
        "NATS_URL": nats_url,
        "QDRANT_URL": qdrant_url,
        "REDIS_URL": NO_REDIS,
        "EMBEDDER": "openai",
        "EMBEDDER_URL": server.url,
        "EMBEDDER_MODEL": MODEL,
    }
    await migrate_all(load(MigrateSettings, environ), [])

    await check(load(MigrateSettings, environ))
    await check(load(MigrateSettings, {**environ, "EMBEDDER_DIMENSIONS": "8"}))
    for change in ({"EMBEDDER_MODEL": "another"}, {"EMBEDDER_DIMENSIONS": "4"}):
        with pytest.raises(EmbedderMismatchError):
            await check(load(MigrateSettings, {**environ, **change}))
