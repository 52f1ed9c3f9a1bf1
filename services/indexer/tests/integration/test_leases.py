"""Jobs under lease: fair, fenced, taken over, resumed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from quarry_common.blobs import BlobStore, open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.contracts.documents import Accept, BlobRef, DocumentFields, JobState, Stage
from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.indexing.pipeline import BATCH_CHUNKS, Pipeline
from quarry_indexer.indexing.worker import Worker
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.repository import jobs
from quarry_indexer.repository.jobs import Lease
from quarry_indexer.service import definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

LEASE_SECONDS = 1.0


class Parts:
    """An indexer in pieces: nothing takes a job unless the test does."""

    def __init__(self, database: Database, blobs: BlobStore, index: VectorIndex, pipeline: Pipeline) -> None:
        self.database = database
        self.blobs = blobs
        self.index = index
        self.pipeline = pipeline
        self.acceptance = Acceptance(database, blobs, "embedder", lambda: None)

    async def put(self, tenant_id: UUID, text: str, **fields: object) -> UUID:
        stored = await self.blobs.put_text(f"tenants/{tenant_id}/uploads/{new_id()}", text)
        blob = BlobRef(stored.path, stored.size_bytes, stored.sha256, "file.txt")
        request = Accept(tenant_id, DocumentFields(**fields), blob, upsert=True)  # type: ignore[arg-type]
        return (await self.acceptance.accept(request)).job_id

    async def claim(self, lease_seconds: float = LEASE_SECONDS) -> Lease | None:
        async with self.database.worker_transaction() as connection:
            return await jobs.claim(connection, lease_seconds)

    async def take_over(self) -> Lease:
        async with asyncio.timeout(10):
            while (lease := await self.claim()) is None:
                await asyncio.sleep(0.05)
        return lease

    async def state(self, lease: Lease) -> JobState:
        async with self.database.tenant_transaction(lease.tenant_id) as connection:
            job = await jobs.find(connection, lease.tenant_id, lease.job_id)
        assert job is not None
        return job.state


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
        local = load_embedder(settings)
        embedder = EmbedderPool(local, max_waiting=2048)
        stack.push_async_callback(embedder.close)
        index = VectorIndex(client, settings, embedder_id=local.id, dimensions=local.dimensions)
        blobs = open_store(settings)
        pipeline = Pipeline(database, blobs, index, parser, embedder, ChunkOptions(), lambda: None)
        yield Parts(database, blobs, index, pipeline)


@pytest.fixture
async def parts(pieces: Parts, own: tuple[str, IndexerSettings]) -> Parts:
    """Nothing waits to be done when a test begins."""
    admin = await asyncpg.connect(own[0])
    await admin.execute("TRUNCATE indexer.jobs, indexer.turns, indexer.documents CASCADE")
    await admin.close()
    return pieces


async def test_tenants_take_turns(parts: Parts) -> None:
    busy, quiet = new_id(), new_id()
    for n in range(3):
        await parts.put(busy, f"busy {n}")
    await parts.put(quiet, "quiet")

    order = [lease.tenant_id for _ in range(4) if (lease := await parts.claim(60)) is not None]

    assert order.index(quiet) <= 1
    assert sorted(map(str, order)) == sorted(map(str, [busy, busy, busy, quiet]))


async def test_a_leased_job_is_nobody_elses(parts: Parts) -> None:
    await parts.put(new_id(), "text")

    first, second = await parts.claim(60), await parts.claim(60)

    assert first is not None
    assert second is None


async def test_an_expired_lease_is_taken_over_and_the_late_worker_changes_nothing(parts: Parts) -> None:
    job_id = await parts.put(new_id(), "text")
    late = await parts.claim()
    assert late is not None

    heir = await parts.take_over()
    await parts.pipeline.run(heir)
    with pytest.raises(LeaseLostError):
        await parts.pipeline.run(late)

    assert (heir.job_id, heir.attempt, heir.takeovers) == (job_id, 2, 1)
    assert await parts.state(heir) is JobState.SUCCEEDED
    assert await parts.index.count(heir.tenant_id, heir.document_id, active=True) == 1


async def test_a_late_batch_does_not_hide_what_was_activated(parts: Parts) -> None:
    await parts.put(new_id(), "text that is found")
    late = await parts.claim()
    assert late is not None
    prepared = await parts.pipeline._prepare(late)
    assert prepared is not None

    await parts.pipeline.run(await parts.take_over())
    with pytest.raises(LeaseLostError):
        await parts.pipeline._write_points(late, prepared)

    assert await parts.index.count(late.tenant_id, late.document_id, active=True) == 1


async def test_a_job_goes_on_after_its_last_finished_batch(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = " ".join(f"word{n}" for n in range(2500))
    await parts.put(new_id(), words)
    lease = await parts.claim()
    assert lease is not None
    embedded: list[int] = []
    write = Pipeline._write_batch

    async def dies_in_its_second_batch(pipeline: Pipeline, prepared: object, rows: list[object]) -> None:
        if embedded:
            raise ConnectionResetError
        embedded.append(len(rows))
        await write(pipeline, prepared, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "_write_batch", dies_in_its_second_batch)
    with pytest.raises(ConnectionResetError):
        await parts.pipeline.run(lease)

    async def counts(pipeline: Pipeline, prepared: object, rows: list[object]) -> None:
        embedded.append(len(rows))
        await write(pipeline, prepared, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "_write_batch", counts)
    heir = await parts.take_over()
    await parts.pipeline.run(heir)

    assert heir.chunks_done == BATCH_CHUNKS
    assert heir.chunks_total is not None
    assert sum(embedded) == heir.chunks_total > BATCH_CHUNKS
    assert await parts.index.count(heir.tenant_id, heir.document_id, active=True) == heir.chunks_total


async def test_a_dependency_that_is_away_postpones_the_job(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")

    class Failing(Pipeline):
        def __init__(self) -> None:
            self.calls = 0

        async def run(self, lease: Lease) -> None:
            self.calls += 1
            if self.calls == 1:
                raise OSError("no route to the vector index")
            await parts.pipeline.run(lease)

    pipeline = Failing()
    worker = Worker(parts.database, pipeline, concurrency=1, lease_seconds=30)
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run(stopping))
    try:
        async with asyncio.timeout(20):
            while True:
                async with parts.database.tenant_transaction(tenant_id) as connection:
                    job = await jobs.find(connection, tenant_id, job_id)
                assert job is not None
                if job.state.final:
                    break
                await asyncio.sleep(0.05)
    finally:
        stopping.set()
        await running

    assert (job.state, job.attempt, pipeline.calls) == (JobState.SUCCEEDED, 2, 2)


async def test_a_stopping_worker_gives_its_job_back_at_once(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "text")
    begun = asyncio.Event()

    class Endless(Pipeline):
        def __init__(self) -> None:
            pass

        async def run(self, lease: Lease) -> None:
            begun.set()
            await asyncio.Event().wait()

    worker = Worker(parts.database, Endless(), concurrency=1, lease_seconds=60)
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run(stopping))
    async with asyncio.timeout(10):
        await begun.wait()
    stopping.set()
    await running

    lease = await parts.claim()
    assert lease is not None
    assert (lease.tenant_id, lease.attempt, lease.takeovers) == (tenant_id, 2, 0)


async def test_a_job_whose_workers_keep_dying_is_given_up(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")
    async with parts.database.worker_transaction() as connection:
        await connection.execute("UPDATE jobs SET takeovers = 21 WHERE id = $1", job_id)
    worker = Worker(parts.database, parts.pipeline, concurrency=1, lease_seconds=60)
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run(stopping))
    try:
        async with asyncio.timeout(10):
            while True:
                async with parts.database.tenant_transaction(tenant_id) as connection:
                    job = await jobs.find(connection, tenant_id, job_id)
                assert job is not None
                if job.state.final:
                    break
                await asyncio.sleep(0.05)
    finally:
        stopping.set()
        await running

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "job_abandoned"


async def test_no_fenced_write_passes_without_the_token(parts: Parts) -> None:
    await parts.put(new_id(), "text")
    late = await parts.claim(0.05)
    assert late is not None
    heir = await parts.take_over()

    async with parts.database.tenant_transaction(heir.tenant_id) as connection:
        assert not await jobs.renew(connection, late, 60)
        assert not await jobs.advance(connection, late, Stage.EMBED, done=5)
        assert not await jobs.hold(connection, late)
        assert not await jobs.finish(connection, late, JobState.SUCCEEDED)
        assert not await jobs.release(connection, late)
        assert await jobs.renew(connection, heir, 60)


async def test_a_job_whose_version_was_overtaken_ends(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "first", external_id="contended")
    slow = await parts.claim(60)
    assert slow is not None
    await parts.put(tenant_id, "second", external_id="contended")
    fast = await parts.claim(60)
    assert fast is not None

    await parts.pipeline.run(fast)
    await parts.pipeline.run(slow)

    assert await parts.state(fast) is JobState.SUCCEEDED
    assert await parts.state(slow) is JobState.CANCELLED
    assert await parts.index.count(tenant_id, fast.document_id, active=True) == 1
