"""Settings of a collection that change while its documents are being indexed."""

from uuid import UUID

import pytest

from quarry_common.contracts.collections import Collection, CollectionSettings
from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.ids import new_id
from quarry_indexer.indexing.reindexing import reindex
from quarry_indexer.indexing.writing import BATCH_CHUNKS
from quarry_indexer.repository import chunks, collections, jobs, leases, versions
from quarry_indexer.repository.leases import Lease

from .parts import Parts, bundle, long_text


async def change(parts: Parts, tenant_id: UUID, **settings: object) -> None:
    async with parts.database.tenant_transaction(tenant_id) as connection:
        await collections.set_settings(
            connection,
            tenant_id,
            "default",
            CollectionSettings(**settings),  # type: ignore[arg-type]
        )


async def collection(parts: Parts, tenant_id: UUID) -> Collection:
    async with parts.database.tenant_transaction(tenant_id) as connection:
        found = await collections.page(connection, tenant_id, name="default", after="", limit=1)
    return found[0]


async def largest_chunk(parts: Parts, lease: Lease) -> int:
    async with parts.database.tenant_transaction(lease.tenant_id) as connection:
        found = await chunks.page(connection, lease.document_id, lease.version, 0, 1000)
    return max(chunk.token_count for chunk in found)


async def broken_off(parts: Parts, tenant_id: UUID) -> Lease:
    """Return a job of which one batch is in the index."""
    await parts.put(tenant_id, long_text(80), title="Title")
    lease = await parts.claim()
    assert lease is not None
    parts.embedder.fails_after = BATCH_CHUNKS
    with pytest.raises(ConnectionResetError):
        await parts.run(lease)
    parts.embedder.fails_after = None
    return lease


async def test_a_document_that_was_read_before_a_change_is_outdated_once_it_is_found(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, long_text(3))
    lease = await parts.claim(60)
    assert lease is not None
    held = bundle(lease)
    prepared = await parts.reader.prepare(held)

    await change(parts, tenant_id, chunk_tokens=64)
    await parts.writer.write(held, prepared)
    await parts.activation.activate(held, prepared)

    assert (await collection(parts, tenant_id)).outdated_documents == 1
    assert await largest_chunk(parts, lease) > 64


async def test_a_document_that_is_read_after_a_change_follows_it(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, long_text(3))

    await change(parts, tenant_id, chunk_tokens=64)
    await parts.run(lease := await parts.take_over())

    assert (await collection(parts, tenant_id)).outdated_documents == 0
    assert await largest_chunk(parts, lease) <= 64


async def test_a_job_that_is_taken_over_goes_on_by_the_settings_it_began_with(parts: Parts) -> None:
    tenant_id = new_id()
    first = await broken_off(parts, tenant_id)

    await change(parts, tenant_id, chunk_tokens=64, title_boost=5.0)
    heir = await parts.take_over()
    (prepared,) = await parts.reader.prepare(bundle(heir))
    await parts.run(heir)

    assert (heir.job_id, prepared.version.indexing.title_boost) == (first.job_id, 1.0)
    assert await largest_chunk(parts, heir) > 64
    assert await parts.index.count(tenant_id, active=True) == heir.chunks_total
    assert (await collection(parts, tenant_id)).outdated_documents == 1


async def test_a_job_that_is_tried_again_from_the_start_mixes_no_chunks(parts: Parts) -> None:
    tenant_id = new_id()
    await broken_off(parts, tenant_id)
    lease = await parts.take_over()
    async with parts.database.tenant_transaction(tenant_id) as connection:
        await leases.finish(connection, lease.token, [lease.job_id], JobState.FAILED, "failed")
        await versions.set_state(connection, [(lease.document_id, lease.version)], "failed")
    await change(parts, tenant_id, chunk_tokens=250, chunk_overlap=0)
    async with parts.database.tenant_transaction(tenant_id) as connection:
        assert await versions.revive(connection, lease.document_id, lease.version)
        await jobs.requeue(connection, lease.job_id)

    await parts.run(again := await parts.take_over())

    job = await parts.job(again)
    assert (again.chunks_total, job.state) == (None, JobState.SUCCEEDED)
    assert await parts.index.count(tenant_id, active=True) == job.chunks_total == lease.chunks_total
    assert (await collection(parts, tenant_id)).outdated_documents == 1


async def test_what_is_on_its_way_by_other_settings_is_indexed_again_and_once(parts: Parts) -> None:
    tenant_id = new_id()
    lease = await broken_off(parts, tenant_id)
    await parts.put(tenant_id, "not read yet")

    async def queued() -> list[UUID]:
        async with parts.database.tenant_transaction(tenant_id) as connection:
            return [chosen.id for chosen in await reindex(connection, tenant_id, limit=10)]

    unchanged = await queued()
    await change(parts, tenant_id, title_boost=2.0)

    assert (unchanged, await queued(), await queued()) == ([], [lease.document_id], [])


async def test_what_a_large_document_was_read_by_is_kept_with_its_first_chunks_in_the_index(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_indexer.indexing.reading.SMALL_TEXT_BYTES", 100)
    tenant_id = new_id()
    await change_before(parts, tenant_id)
    await parts.put(tenant_id, long_text(10))
    lease = await parts.claim(60)
    assert lease is not None
    await parts.reader.prepare(bundle(lease))

    await change(parts, tenant_id, chunk_tokens=128)
    async with parts.database.tenant_transaction(tenant_id) as connection:
        key = (lease.document_id, lease.version)
        found = (await versions.find(connection, [key]))[key]
        assert await leases.enter(connection, lease.token, [lease.job_id], Stage.EMBED)

    assert found.indexing.chunk_tokens == 64
    assert await largest_chunk(parts, lease) <= 64


async def change_before(parts: Parts, tenant_id: UUID) -> None:
    """Let a tenant's default collection cut small before it has documents."""
    async with parts.database.tenant_transaction(tenant_id) as connection:
        settings = CollectionSettings(chunk_tokens=64)
        assert await collections.create(connection, tenant_id, "default", parts.embedder.id, settings)
