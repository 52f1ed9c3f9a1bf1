"""What is done once is not done again: batches, embeddings, and what a job tells of it."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest

from quarry_common.contracts.events import CloudEvent, EventData, JobCompleted, JobProgressed, decode_data
from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.ids import new_id
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.queries import Legs
from quarry_indexer.domain.collection_settings import Indexing
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.indexing import bundle as bundles
from quarry_indexer.indexing.bundle import Bundle, YieldedError
from quarry_indexer.indexing.writing import BATCH_CHUNKS
from quarry_indexer.repository import changes, leases, versions

from .parts import Parts, bundle, long_text, no_settling


async def told_of_jobs(parts: Parts, tenant_id: UUID) -> list[EventData]:
    async with parts.database.tenant_transaction(tenant_id) as connection:
        rows = await connection.fetch(
            "SELECT body FROM outbox WHERE tenant_id = $1 AND subject LIKE '%.job.%' ORDER BY id", tenant_id
        )
    return [decode_data(msgspec.json.decode(row["body"], type=CloudEvent)) for row in rows]


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


async def test_what_is_said_between_two_attempts_is_in_the_index_of_both(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, long_text(80))
    lease = await parts.claim()
    assert lease is not None
    parts.embedder.fails_after = BATCH_CHUNKS
    with pytest.raises(ConnectionResetError):
        await parts.run(lease)
    async with parts.database.tenant_transaction(tenant_id) as connection:
        fields = {"allowed_principals": ["ada"], "doc_type": "note"}
        await changes.change(connection, lease.document_id, fields, metadata={}, forgotten=[])

    parts.embedder.fails_after = None
    await parts.run(heir := await parts.take_over())

    near = Legs(dense=[1.0] + [0.0] * (parts.embedder.dimensions - 1))
    seen = [
        len((await parts.index.search(Scope(tenant_id, principals=who), near, depth=500)).candidates)
        for who in (frozenset(), frozenset({"ada"}))
    ]
    assert seen == [0, heir.chunks_total]


async def test_a_type_that_is_given_while_the_text_is_read_stays(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "text")
    lease = await parts.claim(60)
    assert lease is not None
    key = (lease.document_id, lease.version)
    async with parts.database.tenant_transaction(tenant_id) as connection:
        await changes.change(connection, lease.document_id, {"doc_type": "note"}, metadata={}, forgotten=[])
        found = versions.Parsed(
            *key, text_path="text", title="Title", doc_type="text", chunk_count=1, indexing=Indexing()
        )
        await versions.parsed(connection, [found])

        assert (await versions.find(connection, [key]))[key].doc_type == "note"


async def test_a_job_that_makes_way_is_begun_once(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, long_text(80))
    lease = await parts.claim(60)
    assert lease is not None
    held = bundle(lease)
    held.wanted = True
    with pytest.raises(YieldedError):
        await parts.pipeline.run(held)
    async with parts.database.tenant_transaction(tenant_id) as connection:
        await leases.release(connection, lease.token, [job_id], "made way", counts=False)
    again = await parts.claim(60)
    assert again is not None
    await parts.run(again)

    async with parts.database.tenant_transaction(tenant_id) as connection:
        begun = await connection.fetchval(
            "SELECT count(*) FROM outbox WHERE tenant_id = $1 AND subject LIKE '%job.started'", tenant_id
        )
    assert begun == 1


async def test_a_job_tells_how_far_it_is_until_it_ends(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "TELL_SECONDS", 0.0)
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, long_text(80))

    await parts.run(await parts.take_over())

    told = await told_of_jobs(parts, tenant_id)
    progress = [event for event in told if isinstance(event, JobProgressed)]
    embedded = [event.chunks_done for event in progress if event.stage is Stage.EMBED]
    assert {event.job_id for event in progress} == {job_id}
    assert (progress[0].stage, progress[0].chunks_total, progress[0].progress) == (Stage.PARSE, None, None)
    assert embedded == sorted(set(embedded))
    assert len(embedded) > 1
    assert (progress[-1].chunks_done, progress[-1].progress) == (progress[-1].chunks_total, 1.0)
    assert isinstance(told[-1], JobCompleted)


async def test_what_is_told_of_a_job_has_a_second_between(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, long_text(200))
    lease = await parts.take_over()
    now = 0.0
    held = Bundle([lease], no_settling, lambda: now)
    write = parts.writer._write

    async def in_half_a_second(held: Bundle, batch: Sequence[object]) -> None:
        nonlocal now
        now += 0.5
        await write(held, batch)  # type: ignore[arg-type]

    parts.writer._write = in_half_a_second  # type: ignore[method-assign]
    try:
        await parts.pipeline.run(held)
    finally:
        del parts.writer._write

    done = [
        each.chunks_done for each in await told_of_jobs(parts, tenant_id) if isinstance(each, JobProgressed)
    ]
    batches = round(now / 0.5)
    assert batches >= 4
    assert len(done) == batches // 2


async def test_a_short_job_tells_nothing_between_its_beginning_and_its_end(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "text")
    lease = await parts.take_over()

    await parts.pipeline.run(Bundle([lease], no_settling, lambda: 0.0))

    assert [event.type for event in await told_of_jobs(parts, tenant_id)] == ["job.started", "job.completed"]


async def test_nothing_is_told_of_a_job_that_was_taken_away(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "TELL_SECONDS", 0.0)
    tenant_id = new_id()
    await parts.put(tenant_id, long_text(80))
    lease = await parts.claim(60)
    assert lease is not None
    write = parts.writer._write

    async def taken_away(held: Bundle, batch: Sequence[object]) -> None:
        async with parts.database.tenant_transaction(tenant_id) as connection:
            await leases.release(connection, lease.token, [lease.job_id], "taken away", counts=False)
        await write(held, batch)  # type: ignore[arg-type]

    parts.writer._write = taken_away  # type: ignore[method-assign]
    try:
        with pytest.raises(LeaseLostError):
            await parts.run(lease)
    finally:
        del parts.writer._write

    told = [each for each in await told_of_jobs(parts, tenant_id) if isinstance(each, JobProgressed)]
    assert not [each for each in told if each.stage is Stage.EMBED]
