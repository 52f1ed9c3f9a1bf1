"""Whatever happens to documents and their jobs, what is counted is what is there."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from quarry_common.contracts.collections import CollectionRef, CreateCollection
from quarry_common.contracts.documents import (
    Accept,
    AcceptBatch,
    BatchItem,
    BlobRef,
    DeleteDocument,
    DocumentFields,
    DocumentPatch,
    PatchDocument,
    Reindex,
    Room,
)
from quarry_common.contracts.jobs import ChangeJob, ChangeJobs, JobFilter, JobState
from quarry_common.errors import QuarryError
from quarry_common.ids import new_id
from quarry_common.messaging import outbox
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.domain.collection_settings import Limits
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.handlers import changes as changing
from quarry_indexer.handlers import collections as collecting
from quarry_indexer.handlers.changes import Changes
from quarry_indexer.handlers.collections import Collections
from quarry_indexer.handlers.jobs import Jobs
from quarry_indexer.indexing.purge import Purge
from quarry_indexer.indexing.recount import Recount
from quarry_indexer.indexing.settlement import Settlement
from quarry_indexer.parsing.errors import CorruptDocumentError
from quarry_indexer.repository import counts, usage
from quarry_indexer.repository.leases import Lease
from quarry_indexer.settings import IndexerSettings

from .parts import Parts

NAMES = ["a", "b", "c", "d", "e"]
COLLECTIONS = ["default", "other"]
ROOM = Room(documents=7, storage_bytes=400)


@pytest.fixture
async def admin(own: tuple[str, IndexerSettings]) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(own[0])
    yield connection
    await connection.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody publishes here: let no answer wait for it."""

    async def told(_database: Database, _tenant_id: UUID, _aggregate: str) -> None:
        return

    for module in (changing, collecting, outbox):
        monkeypatch.setattr(module, "told", told)


class Life:
    """A tenant to whom anything may happen, as somebody's luck decides."""

    def __init__(self, parts: Parts, luck: random.Random) -> None:
        self.id = new_id()
        self.held: list[Lease] = []
        """Jobs that a worker has in hand."""
        self._parts = parts
        self._luck = luck
        database, index = parts.database, parts.index
        self._changes = Changes(database, index, lambda: None, lambda: None)
        self._collections = Collections(database, index, parts.embedder.id, Limits(200, 256), lambda: None)
        self._jobs = Jobs(database, lambda: None, lambda: None)
        self._purge = Purge(database, parts.blobs, index)
        self._settlement = Settlement(database)

    async def happen(self) -> str:
        """Let something happen; return what."""
        ways: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (6, self.upload), (3, self.upload_many), (2, self.delete), (1, self.patch), (5, self.take),
            (4, self.index), (3, self.fail), (2, self.cancel), (2, self.retry), (2, self.discard),
            (1, self.replay), (1, self.reindex), (2, self.purge), (1, self.create_collection),
            (1, self.delete_collection),
        ]  # fmt: skip
        (way,) = self._luck.choices([each for _, each in ways], [weight for weight, _ in ways])
        try:
            await way()
        except QuarryError as error:
            return f"{way.__name__}: {error.data.code}"
        return way.__name__

    async def upload(self) -> None:
        fields = self._fields()
        request = Accept(self.id, fields, await self._body(), upsert=True, room=self._room())
        await self._parts.acceptance.accept(request)

    async def upload_many(self) -> None:
        items = [BatchItem(self._fields(), await self._body()) for _ in range(self._luck.randint(2, 5))]
        await self._parts.acceptance.accept_batch(AcceptBatch(self.id, items, upsert=True, room=self._room()))

    async def delete(self) -> None:
        async with self._parts.database.tenant_transaction(self.id) as connection:
            rows = await connection.fetch(
                "SELECT id FROM documents WHERE tenant_id = $1 ORDER BY id DESC LIMIT 6", self.id
            )
        document_id = self._luck.choice([row["id"] for row in rows] or [new_id()])
        await self._changes.delete(DeleteDocument(self.id, document_id))

    async def patch(self) -> None:
        request = PatchDocument(
            self.id,
            collection="default",
            external_id=self._luck.choice(NAMES),
            patch=DocumentPatch(tags=["x"]),
        )
        await self._changes.patch(request)

    async def take(self) -> None:
        self.held += await self._parts.claim_all()

    async def index(self) -> None:
        for lease in self._let_go():
            with suppress(LeaseLostError):
                await self._parts.run(lease)

    async def fail(self) -> None:
        for lease in self._let_go():
            await self._settlement.settle(lease, CorruptDocumentError("by the test"))

    async def cancel(self) -> None:
        await self._jobs.cancel(ChangeJob(self.id, await self._any_job()))

    async def retry(self) -> None:
        await self._jobs.retry(ChangeJob(self.id, await self._any_job(JobState.FAILED, JobState.CANCELLED)))

    async def discard(self) -> None:
        chosen = JobFilter(job_ids=[await self._any_job(JobState.FAILED)])
        await self._jobs.discard(ChangeJobs(self.id, self._luck.choice([chosen, JobFilter()])))

    async def replay(self) -> None:
        await self._jobs.replay(ChangeJobs(self.id, JobFilter()))

    async def reindex(self) -> None:
        await self._changes.reindex(Reindex(self.id))

    async def purge(self) -> None:
        await self._purge.purge_batch()

    async def create_collection(self) -> None:
        await self._collections.create(CreateCollection(self.id, "other"))

    async def delete_collection(self) -> None:
        await self._collections.delete(CollectionRef(self.id, "other"))

    def _fields(self) -> DocumentFields:
        name = self._luck.choice([*NAMES, None])
        return DocumentFields(external_id=name, collection=self._luck.choice(COLLECTIONS))

    async def _body(self) -> BlobRef:
        content = f"{self._luck.randint(0, 3)}".encode() * self._luck.choice([1, 40, 90])
        stored = await self._parts.blobs.of(self.id).put_bytes(
            f"tenants/{self.id}/uploads/{new_id()}", content
        )
        return BlobRef(stored.path, stored.size_bytes, stored.sha256, "file.txt")

    def _room(self) -> Room:
        return self._luck.choice([Room(), ROOM])

    def _let_go(self) -> list[Lease]:
        self._luck.shuffle(self.held)
        place = self._luck.randint(0, len(self.held))
        chosen, self.held = self.held[:place], self.held[place:]
        return chosen

    async def _any_job(self, *states: JobState) -> UUID:
        async with self._parts.database.tenant_transaction(self.id) as connection:
            rows = await connection.fetch(
                """
                SELECT id FROM jobs
                WHERE tenant_id = $1 AND (cardinality($2::text[]) = 0 OR state = ANY($2))
                """,
                self.id,
                [state.value for state in states],
            )
        return self._luck.choice([row["id"] for row in rows] or [new_id()])


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("seed", range(2))
async def test_after_anything_that_can_happen_the_counts_are_what_is_there(
    parts: Parts, admin: "asyncpg.Connection[asyncpg.Record]", seed: int
) -> None:
    life = Life(parts, random.Random(seed))
    story: list[str] = []

    for _ in range(120):
        story.append(await life.happen())
        async with parts.database.tenant_transaction(life.id) as connection:
            counted = (await counts.find(connection, life.id)).used
            seen = await connection.fetchrow(OWNERS_VIEW, life.id)
        assert (counted.documents, counted.storage_bytes) == tuple(seen), story
        assert await Recount(parts.database, interval_seconds=1).recount(life.id) == Usage(), story

    happened = {each.partition(":")[0] for each in story if ":" not in each}
    assert happened >= {"upload", "upload_many", "delete", "index", "fail", "discard", "purge"}


@pytest.mark.usefixtures("at_once")
async def test_when_a_failed_replacement_is_discarded_the_version_before_is_counted_again(
    parts: Parts,
) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "12345", external_id="a")
    first = await parts.claim()
    assert first is not None
    await parts.run(first)
    await parts.put(tenant_id, "123456789", external_id="a")
    second = await parts.claim()
    assert second is not None
    await Settlement(parts.database).settle(second, CorruptDocumentError("by the test"))

    async def counted() -> Usage:
        async with parts.database.tenant_transaction(tenant_id) as connection:
            return (await counts.find(connection, tenant_id)).used

    assert await counted() == Usage(1, 9)
    await Jobs(parts.database, lambda: None, lambda: None).discard(ChangeJobs(tenant_id, JobFilter()))

    assert await counted() == Usage(1, 5)


OWNERS_VIEW = """
    SELECT count(*), coalesce(sum(v.size_bytes), 0)::bigint FROM documents d
    LEFT JOIN versions v ON v.document_id = d.id AND v.version = (
        SELECT max(version) FROM versions w WHERE w.document_id = d.id AND w.state <> 'discarded')
    WHERE d.tenant_id = $1 AND d.deleted_at IS NULL
"""


async def days(parts: Parts, tenant_id: UUID) -> tuple[int, int]:
    today = datetime.now(UTC).date()
    async with parts.database.tenant_transaction(tenant_id) as connection:
        found = await usage.days(connection, tenant_id, date(2020, 1, 1), today + timedelta(days=1))
    return sum(day.chunks for day in found), sum(day.tokens for day in found)


async def test_chunks_and_tokens_are_counted_when_a_version_becomes_searchable(
    parts: Parts, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "two words", external_id="a")
    await parts.put(tenant_id, "three more words", external_id="b")
    assert await days(parts, tenant_id) == (0, 0)

    for lease in await parts.claim_all():
        await parts.run(lease)

    stored = await admin.fetchrow(
        "SELECT count(*), sum(token_count) FROM indexer.chunks WHERE tenant_id = $1", tenant_id
    )
    assert await days(parts, tenant_id) == tuple(stored)
    assert stored[0] == 2

    # Changed and indexed again, more was made.
    await parts.put(tenant_id, "two words changed", external_id="a")
    lease = await parts.claim()
    assert lease is not None
    await parts.run(lease)
    assert (await days(parts, tenant_id))[0] == 3


async def test_no_upload_waits_for_an_index_that_is_slow_to_activate(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "first")
    lease = await parts.claim()
    assert lease is not None
    activate, begun, may_end = VectorIndex.activate, asyncio.Event(), asyncio.Event()

    async def slow(index: VectorIndex, *arguments: Any) -> None:
        begun.set()
        await may_end.wait()
        await activate(index, *arguments)

    monkeypatch.setattr(VectorIndex, "activate", slow)
    indexing = asyncio.create_task(parts.run(lease))
    await asyncio.wait_for(begun.wait(), 20)

    try:
        await asyncio.wait_for(parts.put(tenant_id, "second"), 10)
    finally:
        may_end.set()
        await indexing
