"""Jobs under lease: fair, fenced, taken over, resumed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from quarry_common.blobs import BlobStore, open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.contracts.documents import Accept, BlobRef, DocumentFields
from quarry_common.contracts.jobs import JobDetail, JobState, Priority, Stage
from quarry_common.embedding.load import open_embedder
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.embedding.protocol import Vectors
from quarry_common.errors import NotFoundError, UnavailableError
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.indexing.activation import Activation
from quarry_indexer.indexing.bundle import Bundle, YieldedError
from quarry_indexer.indexing.embedding import CachedEmbedder
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.indexing.reading import Reader
from quarry_indexer.indexing.worker import Worker
from quarry_indexer.indexing.writing import BATCH_CHUNKS, Writer
from quarry_indexer.parsing.errors import ParseCrashedError
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.repository import claims, jobs, leases, versions
from quarry_indexer.repository.claims import TOGETHER
from quarry_indexer.repository.leases import Lease, Progress
from quarry_indexer.service import definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

from .conftest import until

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
        stored = await self.blobs.put_text(f"tenants/{tenant_id}/uploads/{new_id()}", text)
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


async def test_tenants_take_turns(parts: Parts) -> None:
    busy, quiet = new_id(), new_id()
    for n in range(3):
        await parts.put(busy, long_text(90, f"busy{n}"))
    await parts.put(quiet, "quiet")

    order = [(await parts.claim_all())[0].tenant_id for _ in range(4)]

    assert order.index(quiet) <= 1
    assert order.count(busy) == 3


async def test_a_tenant_with_fewer_leases_comes_first(parts: Parts) -> None:
    busy, quiet = new_id(), new_id()
    for n in range(3):
        await parts.put(busy, long_text(90, f"busy{n}"))
    assert [(await parts.claim_all())[0].tenant_id for _ in range(2)] == [busy, busy]
    await parts.put(quiet, "quiet")

    assert (await parts.claim_all())[0].tenant_id == quiet


async def test_who_has_all_places_it_may_have_is_passed_over(parts: Parts) -> None:
    busy = new_id()
    await parts.put(busy, "text")

    assert await parts.claim_all(passed_over=[busy]) == []


async def test_small_documents_are_taken_together_and_large_ones_alone(parts: Parts) -> None:
    tenant_id = new_id()
    for n in range(TOGETHER + 3):
        await parts.put(tenant_id, f"small {n}")
    large = await parts.put(tenant_id, long_text(90))

    first, second, third = await parts.claim_all(), await parts.claim_all(), await parts.claim_all()

    assert (len(first), len(second), [lease.job_id for lease in third]) == (TOGETHER, 3, [large])
    assert len({lease.token for lease in first}) == 1


async def test_who_waits_comes_before_imports_and_imports_get_every_fourth_turn(parts: Parts) -> None:
    tenant_id = new_id()
    for n in range(2):
        await parts.put(tenant_id, long_text(90, f"bulk{n}"), Priority.BULK)
    for n in range(4):
        await parts.put(tenant_id, long_text(90, f"now{n}"))

    taken = [(await parts.claim_all())[0] for _ in range(6)]

    priorities = [(await parts.job(lease)).priority for lease in taken]
    assert priorities == [Priority.INTERACTIVE] * 3 + [Priority.BULK, Priority.INTERACTIVE, Priority.BULK]


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
    await parts.run(heir)
    with pytest.raises(LeaseLostError):
        await parts.run(late)

    assert (heir.job_id, heir.attempt, heir.takeovers) == (job_id, 2, 1)
    assert await parts.state(heir) is JobState.SUCCEEDED
    assert await parts.index.count(heir.tenant_id, heir.document_id, active=True) == 1


async def test_a_late_batch_does_not_hide_what_was_activated(parts: Parts) -> None:
    await parts.put(new_id(), "text that is found")
    late = await parts.claim()
    assert late is not None
    behind = bundle(late)
    prepared = await parts.reader.prepare(behind)

    await parts.run(await parts.take_over())
    with pytest.raises(LeaseLostError):
        await parts.writer.write(behind, prepared)

    assert await parts.index.count(late.tenant_id, late.document_id, active=True) == 1


async def test_a_fence_that_is_broken_would_be_seen(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above say of a late worker fails when nobody asks for the token."""
    await parts.put(new_id(), "text")
    late = await parts.claim()
    assert late is not None
    prepared = await parts.reader.prepare(held := bundle(late))
    heir = await parts.take_over()
    await parts.run(heir)

    async def anybody(_connection: object, _token: UUID, *arguments: object) -> set[UUID]:
        return set(held.members)

    monkeypatch.setattr(leases, "enter", anybody)
    monkeypatch.setattr(leases, "advance", anybody)
    await parts.writer.write(held, prepared)
    await parts.activation.activate(held, prepared)

    async with parts.database.tenant_transaction(late.tenant_id) as connection:
        told = await connection.fetchval(
            "SELECT count(*) FROM outbox WHERE tenant_id = $1 AND subject LIKE '%job.completed'",
            late.tenant_id,
        )
    assert told == 2


async def test_a_job_goes_on_after_its_last_finished_batch(parts: Parts) -> None:
    await parts.put(new_id(), long_text(80))
    lease = await parts.claim()
    assert lease is not None
    parts.embedder.fails_after = BATCH_CHUNKS
    with pytest.raises(ConnectionResetError):
        await parts.run(lease)
    done = len(parts.embedder.texts)

    parts.embedder.fails_after = None
    heir = await parts.take_over()
    await parts.run(heir)

    assert done == heir.chunks_done == BATCH_CHUNKS
    assert heir.chunks_total is not None
    assert len(parts.embedder.texts) == heir.chunks_total > BATCH_CHUNKS
    assert await parts.index.count(heir.tenant_id, heir.document_id, active=True) == heir.chunks_total


async def test_unchanged_text_is_not_embedded_again(parts: Parts) -> None:
    tenant_id = new_id()
    text = long_text(10)
    await parts.put(tenant_id, text, external_id="same")
    await parts.run(await parts.take_over())
    before = len(parts.embedder.texts)

    await parts.put(tenant_id, text + " and a new end", external_id="same")
    await parts.run(lease := await parts.take_over())

    assert await parts.state(lease) is JobState.SUCCEEDED
    assert len(parts.embedder.texts) == before + 1


async def test_another_tenants_vectors_are_not_used(parts: Parts) -> None:
    for tenant_id in (new_id(), new_id()):
        await parts.put(tenant_id, "the same text")
        await parts.run(await parts.take_over())

    assert len(parts.embedder.texts) == 2


async def test_batches_are_filled_across_documents(parts: Parts) -> None:
    tenant_id = new_id()
    for n in range(20):
        await parts.put(tenant_id, f"document number {n}")
    calls: list[int] = []
    write = parts.writer._write

    async def counted(held: Bundle, batch: Sequence[object]) -> None:
        calls.append(len(batch))
        await write(held, batch)  # type: ignore[arg-type]

    parts.writer._write = counted  # type: ignore[method-assign]
    try:
        await parts.run(*await parts.claim_all())
    finally:
        del parts.writer._write

    assert calls == [20]
    assert await parts.index.count(tenant_id, active=True) == 20


async def test_a_document_that_cannot_be_read_fails_alone(parts: Parts) -> None:
    tenant_id = new_id()
    good = await parts.put(tenant_id, "good")
    bad = await parts.put(tenant_id, "%PDF-1.7 broken")
    also_good = await parts.put(tenant_id, "also good")

    async with parts.working():
        ends = [await parts.ended(tenant_id, job_id) for job_id in (good, bad, also_good)]

    assert [job.state for job in ends] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    assert [job.attempt for job in ends] == [1, 1, 1]


async def test_a_job_taken_away_from_a_bundle_leaves_the_others(parts: Parts) -> None:
    tenant_id = new_id()
    for n in range(3):
        await parts.put(tenant_id, f"document {n}")
    held = bundle(*await parts.claim_all())
    prepared = await parts.reader.prepare(held)
    taken = next(iter(held.members.values()))
    async with parts.database.tenant_transaction(tenant_id) as connection:
        await jobs.cancel(connection, "by the test", job_ids=[taken.job_id])
        await versions.set_state(connection, [(taken.document_id, 1)], "cancelled")

    await parts.writer.write(held, prepared)
    await parts.activation.activate(held, prepared)
    await parts.pipeline.clean_up(list(held.lost.values()))

    assert [lease.job_id for lease in held.lost.values()] == [taken.job_id]
    assert await parts.index.count(tenant_id, active=True) == 2
    assert await parts.index.count(tenant_id, taken.document_id) == 0


async def test_a_large_job_makes_way_between_batches_and_goes_on_later(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, long_text(80))
    lease = await parts.claim(60)
    assert lease is not None
    held = bundle(lease)
    held.wanted = True

    with pytest.raises(YieldedError):
        await parts.pipeline.run(held)
    async with parts.database.tenant_transaction(tenant_id) as connection:
        await leases.release(connection, lease.token, [lease.job_id], "made way", counts=False)
    heir = await parts.claim(60)
    assert heir is not None
    await parts.run(heir)

    assert (heir.attempt, heir.takeovers, heir.chunks_done) == (1, 0, BATCH_CHUNKS)
    assert heir.chunks_total == len(parts.embedder.texts)
    assert await parts.state(heir) is JobState.SUCCEEDED


async def test_a_tenant_that_waits_gets_a_place_when_all_are_taken(parts: Parts) -> None:
    busy, quiet = (new_id(), new_id(), new_id()), new_id()
    begun, waiting = asyncio.Event(), asyncio.Event()

    class Slow(Pipeline):
        def __init__(self) -> None:
            self.places = 0

        async def run(self, held: Bundle) -> None:
            if held.tenant_id == quiet:
                return await parts.pipeline.run(held)
            self.places += 1
            if self.places == 2:
                begun.set()
            while True:
                await asyncio.sleep(0.02)
                held.make_way()

        async def clean_up(self, lost: Sequence[Lease]) -> None:
            return None

    for tenant_id in busy:
        await parts.put(tenant_id, long_text(90))
    async with parts.working(Slow(), concurrency=2):
        await asyncio.wait_for(begun.wait(), 20)
        job_id = await parts.put(quiet, "quiet")
        job = await parts.ended(quiet, job_id)

    assert job.state is JobState.SUCCEEDED
    assert not waiting.is_set()


async def test_an_import_makes_way_for_a_document_that_somebody_waits_for(parts: Parts) -> None:
    tenant_id, begun = new_id(), asyncio.Event()

    class Importing(Pipeline):
        def __init__(self) -> None:
            pass

        async def run(self, held: Bundle) -> None:
            if not held.bulk:
                return await parts.pipeline.run(held)
            begun.set()
            while True:
                await asyncio.sleep(0.02)
                held.make_way()

        async def clean_up(self, lost: Sequence[Lease]) -> None:
            return None

    await parts.put(tenant_id, long_text(90), Priority.BULK)
    async with parts.working(Importing(), concurrency=2):
        await asyncio.wait_for(begun.wait(), 20)
        job = await parts.ended(tenant_id, await parts.put(tenant_id, "waited for"))

    assert job.state is JobState.SUCCEEDED


async def test_a_dependency_that_is_away_postpones_the_job(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")

    class Failing(Pipeline):
        def __init__(self) -> None:
            self.calls = 0

        async def run(self, held: Bundle) -> None:
            self.calls += 1
            if self.calls == 1:
                raise UnavailableError("no route to the vector index")
            await parts.pipeline.run(held)

    pipeline = Failing()
    async with parts.working(pipeline):
        job = await parts.ended(tenant_id, job_id)

    assert (job.state, job.attempt, pipeline.calls) == (JobState.SUCCEEDED, 2, 2)


async def test_a_fault_nobody_foresaw_is_sought_document_by_document(parts: Parts) -> None:
    tenant_id = new_id()
    ids = [await parts.put(tenant_id, f"document {n}") for n in range(3)]

    class Faulty(Pipeline):
        def __init__(self) -> None:
            pass

        async def run(self, held: Bundle) -> None:
            if ids[1] in held.members:
                raise RuntimeError("nobody foresaw this")
            await parts.pipeline.run(held)

    async with parts.working(Faulty()):
        ends = [await parts.ended(tenant_id, job_id) for job_id in ids]

    assert [job.state for job in ends] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    assert ends[1].error is not None
    assert ends[1].error.code == "internal_error"


async def test_a_document_that_kills_its_reader_is_read_once_more_alone(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "poison")
    tries: list[bool] = []

    class Poisoned(Pipeline):
        def __init__(self) -> None:
            pass

        async def run(self, held: Bundle) -> None:
            for lease in list(held.members.values()):
                tries.append(lease.alone)
                await held.fail(lease, ParseCrashedError("The parser process ended with SIGSEGV."))

    async with parts.working(Poisoned()):
        job = await parts.ended(tenant_id, job_id)

    assert (job.state, tries) == (JobState.FAILED, [False, True])
    assert job.error is not None
    assert job.error.code == "parse_crashed"


async def test_a_job_that_fails_after_it_was_taken_away_is_cleaned_up_after(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")
    cleaned: list[UUID] = []

    class Late(Pipeline):
        def __init__(self) -> None:
            pass

        async def run(self, held: Bundle) -> None:
            async with parts.database.tenant_transaction(tenant_id) as connection:
                await jobs.cancel(connection, "by the test", job_ids=[job_id])
            raise UnavailableError("the connection broke while the process stood still")

        async def clean_up(self, lost: Sequence[Lease]) -> None:
            cleaned.extend(lease.job_id for lease in lost)

    async with parts.working(Late()):
        await until(lambda: _true(bool(cleaned)))

    assert cleaned == [job_id]


async def _true(value: bool) -> bool:
    return value


async def test_a_stopping_worker_gives_its_job_back_at_once(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "text")
    begun = asyncio.Event()

    class Endless(Pipeline):
        def __init__(self) -> None:
            pass

        async def run(self, held: Bundle) -> None:
            begun.set()
            await asyncio.Event().wait()

    async with parts.working(Endless()):
        await asyncio.wait_for(begun.wait(), 10)

    lease = await parts.claim()
    assert lease is not None
    assert (lease.tenant_id, lease.attempt, lease.takeovers) == (tenant_id, 2, 0)


async def test_a_job_whose_workers_keep_dying_is_given_up(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")
    async with parts.database.worker_transaction() as connection:
        await connection.execute("UPDATE jobs SET takeovers = 21 WHERE id = $1", job_id)

    async with parts.working():
        job = await parts.ended(tenant_id, job_id)

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "job_abandoned"


async def test_no_fenced_write_passes_without_the_token(parts: Parts) -> None:
    await parts.put(new_id(), "text")
    late = await parts.claim(0.05)
    assert late is not None
    heir = await parts.take_over()
    mine, error = [late.job_id], NotFoundError("x").data

    async with parts.database.tenant_transaction(heir.tenant_id) as connection:
        progress = [Progress(late.job_id, 5, 9)]
        assert await leases.enter(connection, late.token, mine, Stage.EMBED) == set()
        assert await leases.advance(connection, late.token, progress, Stage.EMBED) == set()
        assert await leases.finish(connection, late.token, mine, JobState.SUCCEEDED, "x") == set()
        assert not await leases.postpone(connection, late, error, 1, counts=True, alone=False)
        await leases.release(connection, late.token, mine, "x", counts=True)
    async with parts.database.worker_transaction() as connection:
        assert await leases.renew(connection, {late.job_id: late.token}, 60) == set()
        assert await leases.renew(connection, {heir.job_id: heir.token}, 60) == {heir.job_id}
    job = await parts.job(heir)
    assert (job.state, job.chunks_done) == (JobState.RUNNING, 0)


async def test_a_job_whose_version_was_overtaken_ends(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "first", external_id="contended")
    slow = await parts.claim(60)
    assert slow is not None
    await parts.put(tenant_id, "second", external_id="contended")
    fast = await parts.claim(60)
    assert fast is not None

    await parts.run(fast)
    await parts.run(slow)

    assert await parts.state(fast) is JobState.SUCCEEDED
    assert await parts.state(slow) is JobState.CANCELLED
    assert await parts.index.count(tenant_id, fast.document_id, active=True) == 1


async def test_a_job_tells_its_story(parts: Parts) -> None:
    await parts.put(new_id(), "text")
    late = await parts.claim(0.05)
    assert late is not None
    await parts.run(heir := await parts.take_over())

    log = (await parts.job(heir)).log

    told = [line.message for line in log]
    assert told[0] == "queued"
    assert told[1].startswith("begun by")
    assert "taken over" in told[2]
    assert told[3] == "read as text: 4 characters, 1 chunks"
    assert told[-1] == "searchable: 1 chunks"
    assert [line.attempt for line in log] == [0, 1, 2, 2, 2]


async def test_the_log_of_a_long_story_is_bounded(parts: Parts) -> None:
    await parts.put(new_id(), "text")
    lease = await parts.claim(60)
    assert lease is not None
    async with parts.database.tenant_transaction(lease.tenant_id) as connection:
        for n in range(120):
            await leases.enter(connection, lease.token, [lease.job_id], Stage.EMBED, f"line {n}")

    log = (await parts.job(lease)).log

    assert (len(log), log[-1].message) == (100, "line 119")
