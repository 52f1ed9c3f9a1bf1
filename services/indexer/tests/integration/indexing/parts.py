"""An indexer in pieces."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from services.indexer.tests.integration.conftest import until

from quarry_common.blobs import BlobStore
from quarry_common.contracts.documents import Accept, BlobRef, DocumentFields
from quarry_common.contracts.jobs import JobDetail, JobState, Priority
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.embedding.protocol import Vectors
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.indexing.activation import Activation
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.embedding import CachedEmbedder
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.indexing.reading import Reader
from quarry_indexer.indexing.worker import Worker
from quarry_indexer.indexing.writing import Writer
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.repository import claims, jobs
from quarry_indexer.repository.leases import Lease

LEASE_SECONDS = 1.0


class CountingEmbedder:
    """The real embedder, and what it was asked for."""

    def __init__(self, inner: EmbedderPool) -> None:
        self._inner = inner
        self.id, self.dimensions, self.max_tokens = inner.id, inner.dimensions, inner.max_tokens
        self.texts: list[str] = []
        self.fails_after: int | None = None

    async def embed(self, texts: Sequence[str], *, deadline: float, owner: str = "") -> Vectors:
        if self.fails_after is not None and len(self.texts) >= self.fails_after:
            raise ConnectionResetError
        self.texts += texts
        return await self._inner.embed(texts, deadline=deadline, owner=owner)

    async def close(self) -> None:
        return None


class Parts:
    """An indexer in pieces: nothing takes a job unless the test does."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        index: VectorIndex,
        parser: ParserPool,
        embedder: CountingEmbedder,
    ) -> None:
        self.database = database
        self.blobs = blobs
        self.index = index
        self.embedder = embedder
        self.reader = Reader(database, blobs, parser, ChunkOptions())
        self.writer = Writer(database, index, CachedEmbedder(database, embedder))
        self.activation = Activation(database, index, lambda: None)
        self.pipeline = Pipeline(database, index, self.reader, self.writer, self.activation)
        self.acceptance = Acceptance(database, blobs, embedder.id, lambda: None)

    async def put(
        self,
        tenant_id: UUID,
        text: str,
        priority: Priority = Priority.INTERACTIVE,
        **fields: object,
    ) -> UUID:
        stored = await self.blobs.of(tenant_id).put_text(f"tenants/{tenant_id}/uploads/{new_id()}", text)
        blob = BlobRef(stored.path, stored.size_bytes, stored.sha256, "file.txt")
        request = Accept(tenant_id, DocumentFields(**fields), blob, upsert=True, priority=priority)  # type: ignore[arg-type]
        return (await self.acceptance.accept(request)).job_id

    async def claim_all(self, lease_seconds: float = 60, passed_over: Sequence[UUID] = ()) -> list[Lease]:
        async with self.database.worker_transaction() as connection:
            return await claims.claim(connection, lease_seconds, passed_over=passed_over)

    async def claim(self, lease_seconds: float = LEASE_SECONDS) -> Lease | None:
        claimed = await self.claim_all(lease_seconds)
        assert len(claimed) <= 1
        return claimed[0] if claimed else None

    async def take_over(self) -> Lease:
        async with asyncio.timeout(10):
            while (lease := await self.claim(60)) is None:
                await asyncio.sleep(0.05)
        return lease

    async def run(self, *held: Lease) -> None:
        await self.pipeline.run(bundle(*held))

    async def job(self, lease: Lease) -> JobDetail:
        async with self.database.tenant_transaction(lease.tenant_id) as connection:
            job = await jobs.find(connection, lease.tenant_id, lease.job_id)
        assert job is not None
        return job

    async def state(self, lease: Lease) -> JobState:
        return (await self.job(lease)).state

    @asynccontextmanager
    async def working(self, pipeline: Pipeline | None = None, concurrency: int = 2) -> AsyncIterator[Worker]:
        """A worker that takes jobs until the block ends."""
        worker = Worker(self.database, pipeline or self.pipeline, concurrency=concurrency, lease_seconds=30)
        stopping = asyncio.Event()
        running = asyncio.create_task(worker.run(stopping))
        try:
            yield worker
        finally:
            stopping.set()
            await running

    async def ended(self, tenant_id: UUID, job_id: UUID) -> JobDetail:
        found: list[JobDetail] = []

        async def final() -> bool:
            async with self.database.tenant_transaction(tenant_id) as connection:
                job = await jobs.find(connection, tenant_id, job_id)
            assert job is not None
            found[:] = [job]
            return job.state.final

        await until(final)
        return found[0]


async def no_settling(lease: Lease, error: Exception) -> bool:
    raise AssertionError(f"{lease.job_id} was settled by itself: {error!r}") from error


def bundle(*held: Lease) -> Bundle:
    return Bundle(held, no_settling)


def long_text(chunks: int, word: str = "word") -> str:
    """A text of about that many chunks of 200 tokens."""
    return " ".join(f"{word}{n}" for n in range(chunks * 67))
