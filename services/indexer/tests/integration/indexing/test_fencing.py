"""Who has lost a job changes nothing any more."""

from uuid import UUID

import pytest

from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.errors import NotFoundError
from quarry_common.ids import new_id
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.repository import jobs, leases, versions
from quarry_indexer.repository.leases import Progress

from .parts import Parts, bundle


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
