"""The checks of the storm find a fence that does not hold: the same scene with the fence whole and broken.

A worker stands still in the middle of its jobs; another takes them over and ends them, and one of the
documents is replaced and its first version purged. Then the worker goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.chaos import checks
from tests.platform import until

from quarry_common.blobs import BlobStore, open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.contracts.documents import Accept, BlobRef, DocumentFields
from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.embedding.load import open_embedder
from quarry_common.embedding.protocol import AsyncEmbedder, Vectors
from quarry_common.errors import ErrorData
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Connection, Database, connect_pool
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.indexing.activation import Activation
from quarry_indexer.indexing.embedding import CachedEmbedder
from quarry_indexer.indexing.inspection import Inspection
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.indexing.purge import Purge
from quarry_indexer.indexing.reading import Reader
from quarry_indexer.indexing.worker import Worker
from quarry_indexer.indexing.writing import Writer
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.repository import leases
from quarry_indexer.repository.leases import Progress
from quarry_indexer.service import definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

PASSWORD = "fence-test"
LEASE_SECONDS = 1.0


class StandingStill:
    """The embedder as a worker has it that stands still where it would embed, until it is woken."""

    def __init__(self, inner: AsyncEmbedder) -> None:
        self._inner = inner
        self.id, self.dimensions, self.max_tokens = inner.id, inner.dimensions, inner.max_tokens
        self.begun, self.woken = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Sequence[str], *, deadline: float, owner: str = "") -> Vectors:
        self.begun.set()
        await self.woken.wait()
        return await self._inner.embed(texts, deadline=deadline, owner=owner)

    async def close(self) -> None:
        return None


class SilentWorker(Worker):
    """A worker that renews no lease, as one that stands still."""

    async def _beat(self) -> None:
        await asyncio.Event().wait()


class Scene:
    """An indexer in pieces, of which any number of workers can be made."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        index: VectorIndex,
        parser: ParserPool,
        embedder: AsyncEmbedder,
    ) -> None:
        self.tenant_id = new_id()
        self.database, self.index, self.embedder = database, index, embedder
        self._blobs = blobs
        self._reader = Reader(database, blobs, parser, ChunkOptions())
        self._acceptance = Acceptance(database, blobs, embedder.id, lambda: None)
        self.purge = Purge(database, blobs, index)
        self.accepted: list[UUID] = []

    def pipeline(self, embedder: AsyncEmbedder) -> Pipeline:
        writer = Writer(self.database, self.index, CachedEmbedder(self.database, embedder))
        activation = Activation(self.database, self.index, self.purge.wake)
        return Pipeline(self.database, self.index, self._reader, writer, activation)

    async def put(self, external_id: str, text: str) -> None:
        stored = await self._blobs.of(self.tenant_id).put_text(
            f"tenants/{self.tenant_id}/uploads/{new_id()}", text
        )
        blob = BlobRef(stored.path, stored.size_bytes, stored.sha256, "file.txt")
        asked = Accept(self.tenant_id, DocumentFields(external_id=external_id), blob, upsert=True)
        self.accepted.append((await self._acceptance.accept(asked)).job_id)

    @asynccontextmanager
    async def working(self, worker: Worker) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        running = asyncio.create_task(worker.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await running

    async def open_jobs(self) -> int:
        async with self.database.tenant_transaction(self.tenant_id) as connection:
            return int(
                await connection.fetchval("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')")
            )


@pytest.fixture(scope="module")
async def environment(
    postgres_admin_dsn: str, nats_url: str, qdrant_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    admin_dsn = create_database(postgres_admin_dsn)
    folder: Path = tmp_path_factory.mktemp("fence")
    found = {
        "MIGRATE_DATABASE_URL": admin_dsn,
        "DATABASE_ROLE_PASSWORD": PASSWORD,
        "DATABASE_URL": with_login(admin_dsn, "quarry_indexer", PASSWORD),
        "NATS_URL": nats_url,
        "QDRANT_URL": qdrant_url,
        "BLOB_URL": f"file:{folder}/blobs",
    }
    await migrate_all(load(MigrateSettings, found), [definition])
    return found


@pytest.fixture
async def scene(environment: dict[str, str]) -> AsyncIterator[Scene]:
    settings = load(IndexerSettings, environment)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(connect_pool(settings, "indexer"))
        parser = await stack.enter_async_context(ParserPool(settings))
        embedder = await stack.enter_async_context(open_embedder(settings))
        client = await stack.enter_async_context(connect_qdrant(settings))
        index = VectorIndex(client, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        yield Scene(database, open_store(settings), index, parser, embedder)


async def enter_without_token(
    connection: Connection, _token: UUID, job_ids: Sequence[UUID], stage: Stage, _message: str = ""
) -> set[UUID]:
    await connection.execute("UPDATE jobs SET stage = $2 WHERE id = ANY($1::uuid[])", job_ids, stage)
    return set(job_ids)


async def advance_without_token(
    connection: Connection, _token: UUID, progress: Sequence[Progress], _stage: Stage
) -> set[UUID]:
    await connection.executemany(
        "UPDATE jobs SET chunks_done = $2, chunks_total = $3 WHERE id = $1",
        [(each.job_id, each.chunks_done, each.chunks_total) for each in progress],
    )
    return {each.job_id for each in progress}


async def finish_without_token(
    connection: Connection,
    _token: UUID,
    job_ids: Sequence[UUID],
    state: JobState,
    _message: str,
    error: ErrorData | None = None,
) -> set[UUID]:
    await connection.execute(
        """
        UPDATE jobs SET state = $2, error = $3, finished_at = now(), lease_token = NULL, leased_until = NULL
        WHERE id = ANY($1::uuid[])
        """,
        job_ids,
        state,
        msgspec.json.encode(error).decode() if error else None,
    )
    return set(job_ids)


async def play(scene: Scene) -> None:
    """Let a worker stand still while another does its work, and then go on."""
    for name in ("kept", "replaced"):
        await scene.put(name, f"The document that is {name}.")
    standing = StandingStill(scene.embedder)
    late = SilentWorker(scene.database, scene.pipeline(standing), concurrency=2, lease_seconds=LEASE_SECONDS)
    prompt = Worker(scene.database, scene.pipeline(scene.embedder), concurrency=2, lease_seconds=30)

    async def all_over() -> bool:
        return await scene.open_jobs() == 0

    async with scene.working(late):
        await asyncio.wait_for(standing.begun.wait(), 20)
        # It takes nothing else: a worker that stands still does not.
        late._claim = _nothing  # type: ignore[method-assign]
        async with scene.working(prompt):
            await until(all_over, 30, "the other worker has ended the jobs")
            await scene.put("replaced", "What is said instead.")
            await until(all_over, 30, "the replacement is indexed")
        while await scene.purge.purge_batch():
            pass
        bundles = list(late._running.values())
        standing.woken.set()

        async def nothing_left() -> bool:
            return not late._running

        assert bundles
        await until(nothing_left, 30, "the late worker has done what it thought was its work")


async def _nothing() -> list[leases.Lease]:
    return []


async def wrong(scene: Scene, environment: dict[str, str]) -> list[str]:
    connection = await asyncpg.connect(environment["MIGRATE_DATABASE_URL"])
    try:
        report = await Inspection(scene.database, scene.index, lambda: None).inspect(
            scene.tenant_id, repair=False
        )
        return [
            *await checks.jobs_not_ended_once(connection, scene.tenant_id, scene.accepted),
            *await checks.documents_with_wrong_versions(connection, scene.tenant_id),
            *checks.index_not_equal(report),
        ]
    finally:
        await connection.close()


async def test_a_worker_that_wakes_late_changes_nothing(scene: Scene, environment: dict[str, str]) -> None:
    await play(scene)

    assert await wrong(scene, environment) == []


async def test_a_fence_that_asks_for_no_token_is_found_by_the_checks_of_the_storm(
    scene: Scene, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "enter", enter_without_token)
    monkeypatch.setattr(leases, "advance", advance_without_token)
    monkeypatch.setattr(leases, "finish", finish_without_token)

    await play(scene)

    found = await wrong(scene, environment)
    assert any("is succeeded and was told to be completed, completed" in line for line in found), found
    assert any("is cancelled and was told to be completed, cancelled" in line for line in found), found
    assert "1 points are surplus" in found


def test_an_answer_with_two_versions_of_a_document_is_found() -> None:
    results = [
        {"document_id": "a", "version": 1},
        {"document_id": "b", "version": 1},
        {"document_id": "a", "version": 2},
        {"document_id": "b", "version": 1},
    ]

    assert checks.versions_seen_twice(results) == ["an answer holds versions [1, 2] of document a"]
