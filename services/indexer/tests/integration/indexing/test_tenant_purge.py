"""A tenant is removed from every store, piece by piece, and nobody else is touched."""

from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from services.indexer.tests.integration.conftest import until

from quarry_common.blobs import TenantBlobs
from quarry_common.contracts.documents import DeleteDocument
from quarry_common.contracts.purging import Purged
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.tenants import TenantPoints
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.handlers.changes import Changes
from quarry_indexer.indexing import tenant_purge
from quarry_indexer.indexing.tenant_purge import TenantPurge
from quarry_indexer.repository import purging
from quarry_indexer.settings import IndexerSettings

from .parts import Parts, bundle

Rows = dict[str, list[tuple[object, ...]]]
LEASE_SECONDS = 0.4


@pytest.fixture
async def admin(own: tuple[str, IndexerSettings]) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(own[0])
    yield connection
    await connection.close()


class Stores:
    """What tenants have in all stores, looked at past every policy."""

    def __init__(
        self, parts: Parts, points: TenantPoints, admin: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        self.parts = parts
        self.points = points
        self.admin = admin
        self.purge = TenantPurge(parts.database, parts.blobs, points, lease_seconds=LEASE_SECONDS)

    async def tables(self) -> set[str]:
        rows = await self.admin.fetch(
            """
            SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'indexer'::regnamespace AND c.relkind IN ('r', 'p')
              AND a.attname = 'tenant_id' AND NOT a.attisdropped
            """
        )
        return {row["relname"] for row in rows}

    async def rows(self, tenant_id: UUID) -> Rows:
        found: Rows = {}
        for table in await self.tables():
            rows = await self.admin.fetch(
                f"SELECT t::text FROM indexer.{table} t WHERE tenant_id = $1 ORDER BY 1", tenant_id
            )
            found[table] = [tuple(row) for row in rows]
        return found

    async def counts(self, tenant_id: UUID) -> dict[str, int]:
        """Count as a purge does."""
        blobs = [entry async for entry in self.parts.blobs.list(f"tenants/{tenant_id}")]
        rows = {
            f"postgres.indexer.{table}": len(rows) for table, rows in (await self.rows(tenant_id)).items()
        }
        return rows | {
            "vectors.points": await self.points.count(tenant_id),
            "blobs.objects": len(blobs),
            "blobs.bytes": sum(entry.size_bytes for entry in blobs),
        }

    async def fill(self) -> UUID:
        """Return a tenant that has something everywhere: one document found, one waiting, one deleted."""
        tenant_id, parts = new_id(), self.parts
        await parts.put(tenant_id, "what is found", external_id="found")
        await parts.put(tenant_id, "what is deleted", external_id="deleted")
        leases = await parts.claim_all()
        await parts.run(*leases)
        changes = Changes(parts.database, parts.index, lambda: None, lambda: None)
        await self.published(tenant_id)
        await changes.delete(DeleteDocument(tenant_id, collection="default", external_id="deleted"))
        await parts.put(tenant_id, "what waits", external_id="waiting")
        async with parts.database.tenant_transaction(tenant_id) as connection:
            await connection.execute(
                """
                INSERT INTO idempotency_keys (tenant_id, key_digest, fingerprint, reply)
                VALUES ($1, '', '', '')
                """,
                tenant_id,
            )
        await self.published(tenant_id)
        # As if another process had stopped before the test began.
        await self.admin.execute(
            "UPDATE indexer.jobs SET finished_at = now() - interval '1 hour' WHERE finished_at IS NOT NULL"
        )
        return tenant_id

    async def published(self, tenant_id: UUID) -> None:
        """Do what the relay does."""
        await self.admin.execute(
            "UPDATE indexer.outbox SET published_at = now() WHERE tenant_id = $1", tenant_id
        )

    async def purge_all(self, tenant_id: UUID, seconds: float = 5) -> Counter[str]:
        """Ask until nothing is left, and return what was removed."""
        removed: Counter[str] = Counter()

        async def done() -> bool:
            answer = await self.purge.purge(tenant_id, seconds)
            removed.update(answer.removed)
            return not any(answer.left.values())

        await until(done, 20)
        return removed


@pytest.fixture
async def stores(
    parts: Parts,
    own: tuple[str, IndexerSettings],
    admin: "asyncpg.Connection[asyncpg.Record]",
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stores]:
    async def told(*_: object) -> None:
        return

    monkeypatch.setattr("quarry_indexer.handlers.changes.told", told)
    async with connect_qdrant(own[1]) as qdrant:
        yield Stores(parts, TenantPoints(qdrant), admin)


async def test_every_table_with_a_tenant_is_purged(stores: Stores) -> None:
    assert await stores.tables() == set(purging.TABLES)


async def test_a_tenant_goes_from_every_store_and_the_others_stay(stores: Stores) -> None:
    before, gone, after = [await stores.fill() for _ in range(3)]
    had = await stores.counts(gone)
    others = {each: (await stores.rows(each), await stores.counts(each)) for each in (before, after)}
    assert all(had.values()), had

    answer = await stores.purge.purge(gone, 10)

    assert answer == Purged(had, dict.fromkeys(had, 0))
    assert not any((await stores.counts(gone)).values())
    for each, (rows, counts) in others.items():
        assert await stores.rows(each) == rows
        assert await stores.counts(each) == counts


async def test_it_goes_on_where_it_was_ended_and_counts_each_thing_once(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time at all is time for one piece, and here each piece is as small as can be."""
    for size in ("POINTS_AT_ONCE", "BLOBS_AT_ONCE", "DOCUMENTS_AT_ONCE", "ROWS_AT_ONCE"):
        monkeypatch.setattr(tenant_purge, size, 1)
    tenant_id = await stores.fill()
    had = await stores.counts(tenant_id)

    first = await stores.purge.purge(tenant_id, 0)
    removed = Counter(first.removed) + await stores.purge_all(tenant_id, seconds=0)

    assert sum(first.removed.values()) == 1
    assert any(first.left.values())
    assert dict(removed) == had


@pytest.mark.parametrize("place", range(4))
async def test_when_a_store_fails_in_the_middle_the_next_request_does_the_rest(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    async def away(*_: object) -> None:
        raise UnavailableError("away")

    tenant_id = await stores.fill()
    with monkeypatch.context() as broken:
        owner, name = [
            (TenantPoints, "delete"), (TenantBlobs, "delete"), (purging, "delete_documents"),
            (purging, "delete_rows"),
        ][place]  # fmt: skip
        broken.setattr(owner, name, away)
        with pytest.raises(UnavailableError):
            await stores.purge.purge(tenant_id, 5)
    assert any((await stores.counts(tenant_id)).values())

    await stores.purge_all(tenant_id)

    assert not any((await stores.counts(tenant_id)).values())


async def test_a_tenant_that_is_gone_or_never_was_is_no_error(stores: Stores) -> None:
    answer = await stores.purge.purge(new_id(), 1)

    assert answer.removed == {}
    assert set(answer.left.values()) == {0}
    assert "postgres.indexer.chunks" in answer.left


async def test_messages_that_are_not_published_are_left_to_the_relay(stores: Stores) -> None:
    tenant_id = await stores.fill()
    await stores.parts.put(tenant_id, "more")

    answer = await stores.purge.purge(tenant_id, 1)
    waiting = await stores.admin.fetchval(
        "SELECT count(*) FROM indexer.outbox WHERE tenant_id = $1 AND published_at IS NULL", tenant_id
    )

    assert {store: count for store, count in answer.left.items() if count} == {
        "postgres.indexer.outbox": waiting
    }
    await stores.published(tenant_id)
    assert await stores.purge_all(tenant_id) == {"postgres.indexer.outbox": waiting}


async def test_what_is_accepted_while_a_tenant_is_removed_goes_too(stores: Stores) -> None:
    tenant_id = await stores.fill()
    remove = stores.points.delete
    late: list[UUID] = []

    async def accepting(tenant: UUID, limit: int) -> int:
        if not late:
            late.append(await stores.parts.put(tenant, "late"))
        return await remove(tenant, limit)

    stores.points.delete = accepting  # type: ignore[method-assign]

    first = await stores.purge.purge(tenant_id, 0.1)
    await stores.published(tenant_id)
    await stores.purge_all(tenant_id)

    assert first.left["postgres.indexer.documents"] >= 1
    assert not any((await stores.counts(tenant_id)).values())


async def test_a_worker_in_the_middle_of_a_job_writes_nothing_that_stays(stores: Stores) -> None:
    parts, tenant_id = stores.parts, new_id()
    await parts.put(tenant_id, "text that a worker has in hand")
    lease = await parts.claim(60)
    assert lease is not None
    held = bundle(lease)
    prepared = await parts.reader.prepare(held)
    await stores.published(tenant_id)

    during = await stores.purge.purge(tenant_id, 0.1)
    with pytest.raises(LeaseLostError):
        await parts.writer.write(held, prepared)
    written = await stores.points.count(tenant_id)
    await stores.purge_all(tenant_id)

    # Its document's rows stay as long as it may not have heard of it: what it writes goes before them.
    assert during.left["postgres.indexer.jobs"] == during.left["postgres.indexer.documents"] == 1
    assert during.left["postgres.indexer.turns"] == during.left["postgres.indexer.tenant_counts"] == 1
    assert written == 1
    assert not any((await stores.counts(tenant_id)).values())


async def test_a_worker_that_wakes_after_all_is_gone_leaves_nothing(stores: Stores) -> None:
    parts, tenant_id = stores.parts, new_id()
    await parts.put(tenant_id, "text of a worker that stood still")
    lease = await parts.claim(60)
    assert lease is not None
    held = bundle(lease)
    prepared = await parts.reader.prepare(held)
    await stores.published(tenant_id)
    await stores.purge_all(tenant_id)

    with pytest.raises(LeaseLostError):
        await parts.writer.write(held, prepared)
    await parts.pipeline.clean_up(list(held.lost.values()))

    assert not any((await stores.counts(tenant_id)).values())


async def test_no_more_is_counted_than_is_worth_it(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_purge, "COUNTED", 1)
    tenant_id = await stores.fill()
    await stores.parts.put(tenant_id, "more")
    monkeypatch.setattr(tenant_purge.TenantPurge, "_round", nothing)

    left = (await stores.purge.purge(tenant_id, 0)).left

    assert {store: count for store, count in left.items() if not store.endswith(".bytes")} == dict.fromkeys(
        [f"postgres.indexer.{table}" for table in purging.TABLES] + ["vectors.points", "blobs.objects"], 1
    )


async def nothing(*_: object) -> None:
    return
