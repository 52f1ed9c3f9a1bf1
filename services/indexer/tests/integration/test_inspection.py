"""The index held against Postgres, and what nothing names."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from quarry_common.contracts import documents as contract
from quarry_common.contracts.documents import IndexReport, InspectIndex
from quarry_common.embedding.bm25 import encode_document
from quarry_common.ids import new_id
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import load
from quarry_common.vectors.index import _points
from quarry_common.vectors.points import ChunkPoint
from quarry_indexer.indexing.inspection import Inspection
from quarry_indexer.indexing.recount import Recount
from quarry_indexer.indexing.upkeep import Upkeep
from quarry_indexer.settings import IndexerSettings

from .conftest import Embedded, Indexer, until

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TEXT = "\n\n".join(f"# Chapter {n}\n\n" + "Stone upon stone. " * 50 for n in range(4)).encode()


@pytest.fixture
def tenant(indexer: Indexer) -> Indexer:
    return indexer.of_another_tenant()


async def inspect(tenant: Indexer, *, repair: bool = False) -> IndexReport:
    return await tenant.rpc.call(contract.INSPECT_INDEX, InspectIndex(tenant.tenant_id, repair))


def point(tenant_id: UUID, document_id: UUID, version: int, ordinal: int = 0) -> ChunkPoint:
    return ChunkPoint(
        tenant_id=tenant_id, document_id=document_id, version=version, ordinal=ordinal, text="orphan",
        collection="default", title="", heading_path=[], page=None, char_start=0, char_end=6, doc_type="text",
        tags=[], metadata={}, external_id=None, source_url=None, allowed_principals=None,
        created_at=NOW, updated_at=NOW, dense=[1.0] + [0.0] * 383, sparse=encode_document("orphan"),
    )  # fmt: skip


async def test_an_index_that_is_whole_shows_no_difference(tenant: Indexer) -> None:
    accepted = [await tenant.searchable(TEXT), await tenant.searchable(b"another")]

    report = await inspect(tenant)

    chunks = sum([(await tenant.document(each.document_id)).chunk_count for each in accepted])
    assert (report.documents, report.chunks, report.points) == (2, chunks, chunks)
    assert (report.missing, report.surplus, report.hidden, report.damaged_documents) == (0, 0, 0, 0)


async def test_points_that_are_lost_are_made_again_without_embedding(
    tenant: Indexer, embedded: Embedded
) -> None:
    accepted = await tenant.searchable(TEXT)
    known = embedded.of("Stone upon stone.")
    assert known
    chunks = (await tenant.document(accepted.document_id)).chunk_count
    await tenant.index.delete_versions(tenant.tenant_id, [(accepted.document_id, 1)])

    seen = await inspect(tenant)
    mended = await inspect(tenant, repair=True)

    assert (seen.missing, seen.damaged_documents, seen.repaired) == (chunks, 1, False)
    assert mended.repaired

    async def whole() -> bool:
        report = await inspect(tenant)
        return report.points == report.chunks == chunks and report.surplus == 0

    await until(whole)
    assert embedded.of("Stone upon stone.") == known


async def test_points_of_nothing_are_removed(tenant: Indexer) -> None:
    accepted = await tenant.searchable(TEXT)
    orphan, later = new_id(), accepted.document_id
    await tenant.index.upsert_inactive(
        [point(tenant.tenant_id, orphan, 1), point(tenant.tenant_id, later, 9)]
    )
    await tenant.index.activate(tenant.tenant_id, [(orphan, 1)])

    seen = await inspect(tenant)
    await inspect(tenant, repair=True)

    assert (seen.surplus, seen.missing) == (2, 0)
    assert await tenant.index.count(tenant.tenant_id, orphan) == 0
    assert await tenant.index.count(tenant.tenant_id, later, 9) == 0
    assert (await inspect(tenant)).points == (await inspect(tenant)).chunks


async def test_hidden_points_are_shown_again(tenant: Indexer) -> None:
    accepted = await tenant.searchable(TEXT)
    document = await tenant.document(accepted.document_id)
    # As if the activation had been lost by an index that was restored from a backup.
    await tenant.index._set({"active": 0}, _points(tenant.tenant_id, accepted.document_id))

    seen = await inspect(tenant)
    await inspect(tenant, repair=True)

    assert (seen.hidden, seen.missing, seen.points) == (document.chunk_count, 0, 0)
    count = await tenant.index.count(tenant.tenant_id, accepted.document_id, 1, active=True)
    assert count == document.chunk_count


async def test_another_tenants_points_are_let_alone(tenant: Indexer) -> None:
    stranger = tenant.of_another_tenant()
    orphan = new_id()
    await tenant.index.upsert_inactive([point(stranger.tenant_id, orphan, 1)])

    await inspect(tenant, repair=True)

    assert await tenant.index.count(stranger.tenant_id, orphan) == 1
    await inspect(stranger, repair=True)


@asynccontextmanager
async def upkeep(tenant: Indexer, environment: dict[str, str]) -> AsyncIterator[Upkeep]:
    settings = load(IndexerSettings, environment)
    async with connect_pool(settings, "indexer") as database:
        inspection = Inspection(database, tenant.index, lambda: None)
        recount = Recount(database, interval_seconds=0)
        yield Upkeep(
            database, tenant.blobs, tenant.index, inspection, recount, interval_seconds=60, embedding_days=30
        )


async def test_blobs_that_nothing_names_are_removed_once_they_are_old(
    tenant: Indexer, environment: dict[str, str]
) -> None:
    accepted = await tenant.searchable(TEXT)
    kept = {entry.path async for entry in tenant.blobs.list(f"tenants/{tenant.tenant_id}")}
    old = await tenant.store(b"nobody needs this")
    young = await tenant.store(b"somebody may be about to")
    folder = Path(environment["BLOB_URL"].removeprefix("file:"))
    for path in (old.path, *kept):
        os.utime(folder / path, (time.time() - 7200,) * 2)

    async with upkeep(tenant, environment) as mending:
        assert await mending.sweep_blobs() >= 1

    left = {entry.path async for entry in tenant.blobs.list(f"tenants/{tenant.tenant_id}")}
    assert left == kept | {young.path}
    assert len(kept) == 2
    assert (await tenant.document(accepted.document_id)).version == 1
