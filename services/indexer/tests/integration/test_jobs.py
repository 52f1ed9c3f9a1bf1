"""Jobs as their owner controls them: cancelled, tried again, dead letters replayed and discarded."""

import asyncio

import pytest

from quarry_common.contracts import documents as contract
from quarry_common.contracts import jobs as job_contract
from quarry_common.contracts.documents import Accepted, DeleteDocument, DocumentStatus
from quarry_common.contracts.jobs import (
    ChangeJob,
    ChangeJobs,
    JobDetail,
    JobFilter,
    JobState,
    ListDeadLetters,
    ListJobs,
)
from quarry_common.errors import RemoteError

from .conftest import Indexer, until

LONG = "\n\n".join(
    f"Paragraph {n} tells of stone number {n} and where it lies." for n in range(4000)
).encode()
BROKEN = b"%PDF-1.7 this is no PDF"


@pytest.fixture
def tenant(indexer: Indexer) -> Indexer:
    return indexer.of_another_tenant()


async def dead(tenant: Indexer, **chosen: object) -> list[str]:
    request = ListDeadLetters(tenant.tenant_id, JobFilter(**chosen))  # type: ignore[arg-type]
    page = await tenant.rpc.call(job_contract.LIST_DEAD_LETTERS, request)
    return [str(job.id) for job in page.jobs]


async def failed(tenant: Indexer, content: bytes = BROKEN, **fields: object) -> tuple[Accepted, JobDetail]:
    accepted = await tenant.put(content, file_name="broken.pdf", **fields)  # type: ignore[arg-type]
    job = await tenant.finished(accepted.job_id)
    assert job.state is JobState.FAILED
    return accepted, job


async def under_way(tenant: Indexer, accepted: Accepted) -> None:
    """Return when some of a document is stored."""

    async def begun() -> bool:
        return (await tenant.job(accepted.job_id)).chunks_done > 0

    await until(begun, 60)


async def test_a_running_job_is_cancelled_and_leaves_no_chunks(tenant: Indexer) -> None:
    accepted = await tenant.put(LONG)
    await under_way(tenant, accepted)
    job = await tenant.cancel(accepted.job_id)

    assert job.state is JobState.CANCELLED

    async def nothing_left() -> bool:
        return await tenant.index.count(tenant.tenant_id, accepted.document_id) == 0

    await until(nothing_left, 10)
    document = await tenant.document(accepted.document_id)
    assert (document.status, document.chunk_count) == (DocumentStatus.CANCELLED, 0)


async def test_cancelling_twice_is_cancelling_once(tenant: Indexer) -> None:
    accepted = await tenant.put(LONG)
    first, second = await tenant.cancel(accepted.job_id), await tenant.cancel(accepted.job_id)

    assert (first.state, second.state) == (JobState.CANCELLED, JobState.CANCELLED)


async def test_a_job_that_has_ended_cannot_be_cancelled(tenant: Indexer) -> None:
    accepted = await tenant.searchable(b"text")

    with pytest.raises(RemoteError) as refused:
        await tenant.cancel(accepted.job_id)

    assert (refused.value.data.code, refused.value.data.status) == ("job_finished", 409)


async def test_a_cancelled_job_can_be_tried_again(tenant: Indexer) -> None:
    accepted = await tenant.put(LONG[:20_000])
    await tenant.cancel(accepted.job_id)

    await tenant.retry(accepted.job_id)
    job = await tenant.finished(accepted.job_id)

    assert job.state is JobState.SUCCEEDED
    points = await tenant.index.count(tenant.tenant_id, accepted.document_id, active=True)
    assert points == job.chunks_total == job.chunks_done


async def test_cancel_and_retry_at_once_many_times_leave_a_whole_document(tenant: Indexer) -> None:
    accepted = await tenant.put(LONG[:40_000])
    for _ in range(5):
        await tenant.cancel(accepted.job_id)
        await tenant.retry(accepted.job_id)

    job = await tenant.finished(accepted.job_id)

    assert job.state is JobState.SUCCEEDED

    async def whole() -> bool:
        return await tenant.index.count(tenant.tenant_id, accepted.document_id) == job.chunks_total

    await until(whole)
    assert await tenant.index.count(tenant.tenant_id, accepted.document_id, active=True) == job.chunks_total


async def test_the_jobs_of_a_filter_are_cancelled_together(tenant: Indexer) -> None:
    done = await tenant.searchable(b"text that is done")
    many = [await tenant.put(LONG) for _ in range(4)]
    chosen = JobFilter(job_ids=[accepted.job_id for accepted in [*many[:2], done]])

    changed = await tenant.rpc.call(job_contract.CANCEL_JOBS, ChangeJobs(tenant.tenant_id, chosen))

    assert (changed.jobs, changed.more) == (2, False)
    request = ListJobs(tenant.tenant_id, JobState.CANCELLED)
    page = await tenant.rpc.call(job_contract.LIST_JOBS, request)
    assert {job.id for job in page.jobs} == {accepted.job_id for accepted in many[:2]}
    await tenant.rpc.call(job_contract.CANCEL_JOBS, ChangeJobs(tenant.tenant_id, JobFilter()))


async def test_the_last_version_is_found_while_a_newer_one_is_cancelled(tenant: Indexer) -> None:
    first = await tenant.searchable(b"what is found", external_id="a", upsert=True)
    second = await tenant.put(LONG, external_id="a", upsert=True)
    await under_way(tenant, second)

    await tenant.cancel(second.job_id)

    document = await tenant.document(first.document_id)
    assert (document.status, document.version) == (DocumentStatus.SEARCHABLE, 1)

    async def only_the_first() -> bool:
        return await tenant.index.count(tenant.tenant_id, first.document_id) == 1

    await until(only_the_first)


async def test_a_job_that_waits_tells_its_place(tenant: Indexer) -> None:
    jobs = [await tenant.put(LONG) for _ in range(12)]

    async def places() -> list[int]:
        found = [await tenant.job(accepted.job_id) for accepted in jobs]
        return [job.queue_position for job in found if job.queue_position is not None]

    waiting = await places()
    await tenant.rpc.call(job_contract.CANCEL_JOBS, ChangeJobs(tenant.tenant_id, JobFilter()))

    # Read one after another while the first ones are taken.
    assert waiting == sorted(waiting)
    assert len(set(waiting)) > 1
    assert waiting[-1] > 0


async def test_a_failed_document_is_a_dead_letter_until_somebody_decides(tenant: Indexer) -> None:
    _, job = await failed(tenant)

    assert await dead(tenant) == [str(job.id)]
    assert await dead(tenant, code="corrupt_document") == [str(job.id)]
    assert await dead(tenant, code="another") == []


async def test_a_discarded_dead_letter_takes_its_document_along(tenant: Indexer) -> None:
    accepted, job = await failed(tenant)
    chosen = JobFilter(job_ids=[job.id])

    changed = await tenant.rpc.call(job_contract.DISCARD_DEAD_LETTERS, ChangeJobs(tenant.tenant_id, chosen))

    assert changed.jobs == 1
    assert await dead(tenant) == []
    with pytest.raises(RemoteError) as missing:
        await tenant.document(accepted.document_id)
    assert missing.value.data.status == 404

    async def no_files() -> bool:
        return not [entry async for entry in tenant.blobs.list(f"tenants/{tenant.tenant_id}")]

    await until(no_files)


async def test_a_discarded_replacement_leaves_the_document_as_it_was(tenant: Indexer) -> None:
    first = await tenant.searchable(b"what is found", external_id="a", upsert=True)
    await failed(tenant, external_id="a", upsert=True)

    await tenant.rpc.call(job_contract.DISCARD_DEAD_LETTERS, ChangeJobs(tenant.tenant_id, JobFilter()))

    document = await tenant.document(first.document_id)
    assert (document.status, document.version) == (DocumentStatus.SEARCHABLE, 1)
    assert await dead(tenant) == []


async def test_dead_letters_of_a_filter_are_replayed(tenant: Indexer) -> None:
    found = [await failed(tenant, BROKEN + b"%d" % n) for n in range(3)]
    chosen = JobFilter(code="corrupt_document")

    changed = await tenant.rpc.call(job_contract.REPLAY_DEAD_LETTERS, ChangeJobs(tenant.tenant_id, chosen))
    ends = [await tenant.finished(job.id) for _, job in found]

    assert changed.jobs == 3
    assert [(job.state, job.attempt) for job in ends] == [(JobState.FAILED, 2)] * 3
    assert len(await dead(tenant)) == 3


async def test_a_dead_letter_whose_document_is_gone_is_not_replayed(tenant: Indexer) -> None:
    accepted, job = await failed(tenant)
    delete = DeleteDocument(tenant.tenant_id, accepted.document_id)
    await tenant.rpc.call(contract.DELETE_DOCUMENT, delete)

    changed = await tenant.rpc.call(
        job_contract.REPLAY_DEAD_LETTERS, ChangeJobs(tenant.tenant_id, JobFilter())
    )
    with pytest.raises(RemoteError) as refused:
        await tenant.retry(job.id)

    assert changed.jobs == 0
    assert await dead(tenant) == []
    assert refused.value.data.code == "job_superseded"


async def test_a_control_request_under_a_key_is_done_once(tenant: Indexer) -> None:
    _, job = await failed(tenant)
    request = ChangeJob(tenant.tenant_id, job.id, "key")

    replies = await asyncio.gather(*(tenant.rpc.call(job_contract.RETRY_JOB, request) for _ in range(5)))
    ended = await tenant.finished(job.id)

    assert len({reply.revision for reply in replies}) == 1
    assert ended.attempt == 2


async def test_another_tenants_job_cannot_be_touched(tenant: Indexer) -> None:
    _, job = await failed(tenant)
    stranger = tenant.of_another_tenant()

    for change in (stranger.cancel, stranger.retry):
        with pytest.raises(RemoteError) as refused:
            await change(job.id)
        assert refused.value.data.status == 404
    chosen = JobFilter(job_ids=[job.id])
    for method in (job_contract.DISCARD_DEAD_LETTERS, job_contract.REPLAY_DEAD_LETTERS):
        changed = await stranger.rpc.call(method, ChangeJobs(stranger.tenant_id, chosen))
        assert changed.jobs == 0
    assert await dead(tenant) == [str(job.id)]
