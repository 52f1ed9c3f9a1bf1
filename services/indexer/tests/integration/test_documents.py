"""Documents from acceptance to the index and out of it again."""

import asyncio

import asyncpg
import pytest

from quarry_common.contracts import documents as contract
from quarry_common.contracts import jobs as job_contract
from quarry_common.contracts.documents import DeleteDocument, DocumentRef, DocumentStatus, ListDocuments
from quarry_common.contracts.jobs import JobRef, JobState
from quarry_common.errors import RemoteError

from .conftest import Indexer, until

TEXT = b"# Mining\n\nQuarries give stone.\n\n## Safety\n\nHelmets are worn below the crane.\n"


async def test_an_accepted_document_becomes_searchable(indexer: Indexer) -> None:
    accepted = await indexer.put(TEXT, file_name="mining.md", title="Quarry handbook")

    job = await indexer.finished(accepted.job_id)

    assert (job.state, job.chunks_done, job.error) == (JobState.SUCCEEDED, job.chunks_total, None)
    document = await indexer.rpc.call(
        contract.GET_DOCUMENT, DocumentRef(indexer.tenant_id, accepted.document_id)
    )
    assert (document.status, document.version, document.doc_type) == (
        DocumentStatus.SEARCHABLE,
        1,
        "markdown",
    )
    points = await indexer.index.count(indexer.tenant_id, accepted.document_id, active=True)
    assert points == document.chunk_count == job.chunks_total


async def test_a_job_can_be_read_as_soon_as_it_was_returned(indexer: Indexer) -> None:
    accepted = [await indexer.put(b"text %d" % n) for n in range(5)]

    states = [(await indexer.job(item.job_id)).state for item in accepted]

    assert len(states) == 5
    await asyncio.gather(*(indexer.finished(item.job_id) for item in accepted))


async def test_a_title_without_content_is_indexed(indexer: Indexer) -> None:
    accepted = await indexer.put(None, title="Only a title")

    job = await indexer.finished(accepted.job_id)

    assert (job.state, job.chunks_total) == (JobState.SUCCEEDED, 1)


async def test_a_document_with_neither_title_nor_content_is_refused(indexer: Indexer) -> None:
    with pytest.raises(RemoteError) as refused:
        await indexer.put(None, title="  ")

    assert (refused.value.data.code, refused.value.data.status) == ("document_empty", 422)


async def test_an_unreadable_file_fails_its_job_with_advice(indexer: Indexer) -> None:
    accepted = await indexer.put(b"%PDF-1.7\n broken", file_name="broken.pdf")

    job = await indexer.finished(accepted.job_id)

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.advice
    assert await indexer.index.count(indexer.tenant_id, accepted.document_id) == 0


async def test_an_upsert_replaces_every_chunk_of_the_version_before(indexer: Indexer) -> None:
    first = await indexer.put(TEXT, external_id="doc-1", upsert=True)
    await indexer.finished(first.job_id)

    second = await indexer.put(b"Something else entirely.", external_id="doc-1", upsert=True)
    await indexer.finished(second.job_id)

    assert (second.document_id, second.version) == (first.document_id, first.version + 1)
    count = indexer.index.count
    assert await count(indexer.tenant_id, first.document_id, second.version, active=True) == 1
    async with asyncio.timeout(10):
        while await count(indexer.tenant_id, first.document_id, first.version):
            await asyncio.sleep(0.02)


async def test_an_upsert_of_the_same_content_changes_nothing(indexer: Indexer) -> None:
    first = await indexer.put(TEXT, external_id="same", upsert=True)
    await indexer.finished(first.job_id)

    again = await indexer.put(TEXT, external_id="same", upsert=True)

    assert (again.unchanged, again.job_id, again.version) == (True, first.job_id, first.version)


async def test_an_external_id_is_taken_once(indexer: Indexer) -> None:
    await indexer.put(TEXT, external_id="taken")

    with pytest.raises(RemoteError) as refused:
        await indexer.put(b"other", external_id="taken")

    assert (refused.value.data.code, refused.value.data.status) == ("external_id_taken", 409)


async def test_competing_upserts_end_with_the_last_version(indexer: Indexer) -> None:
    accepted = await asyncio.gather(
        *(indexer.put(b"version %d" % n, external_id="contended", upsert=True) for n in range(8))
    )

    jobs = await asyncio.gather(*(indexer.finished(item.job_id) for item in accepted))

    assert {item.document_id for item in accepted} == {accepted[0].document_id}
    assert sorted(item.version for item in accepted) == list(range(1, 9))
    last = max(jobs, key=lambda job: job.version)
    assert last.state is JobState.SUCCEEDED
    document = await indexer.rpc.call(
        contract.GET_DOCUMENT, DocumentRef(indexer.tenant_id, accepted[0].document_id)
    )
    assert document.version == 8


async def test_one_idempotency_key_makes_one_document(indexer: Indexer) -> None:
    answers = await asyncio.gather(*(indexer.put(TEXT, title="once", key="key-1") for _ in range(50)))

    assert len({(answer.document_id, answer.job_id) for answer in answers}) == 1


async def test_an_idempotency_key_for_another_document_is_refused(indexer: Indexer) -> None:
    await indexer.put(TEXT, key="key-2")

    with pytest.raises(RemoteError) as refused:
        await indexer.put(b"other", key="key-2")

    assert (refused.value.data.code, refused.value.data.status) == ("idempotency_key_reused", 422)


async def test_a_deleted_document_is_gone_at_once_and_its_files_soon(indexer: Indexer) -> None:
    other = indexer.of_another_tenant()
    accepted = await other.put(TEXT)
    await other.finished(accepted.job_id)
    reference = DocumentRef(other.tenant_id, accepted.document_id)

    await other.rpc.call(contract.DELETE_DOCUMENT, DeleteDocument(other.tenant_id, accepted.document_id))

    assert await other.index.count(other.tenant_id, accepted.document_id) == 0
    with pytest.raises(RemoteError) as missing:
        await other.rpc.call(contract.GET_DOCUMENT, reference)
    assert missing.value.data.status == 404
    async with asyncio.timeout(20):
        while [entry async for entry in other.blobs.list(f"tenants/{other.tenant_id}")]:
            await asyncio.sleep(0.05)


async def test_who_caches_hears_of_a_deletion_and_once_more_when_nothing_of_it_is_left(
    indexer: Indexer,
) -> None:
    other = indexer.of_another_tenant()
    accepted = await other.searchable(TEXT)
    await other.rpc.call(contract.DELETE_DOCUMENT, DeleteDocument(other.tenant_id, accepted.document_id))
    admin = await asyncpg.connect(other.admin_dsn)
    told: list[str] = []

    async def refreshed() -> bool:
        rows = await admin.fetch(
            "SELECT subject FROM indexer.outbox WHERE tenant_id = $1 ORDER BY id", other.tenant_id
        )
        told[:] = [row["subject"].split(".", 3)[3] for row in rows]
        return "collection.refreshed" in told

    await until(refreshed)
    await admin.close()
    assert told.index("document.deleted") < told.index("collection.refreshed")


async def test_a_deleted_external_id_comes_back_as_a_newer_version(indexer: Indexer) -> None:
    first = await indexer.put(TEXT, external_id="phoenix", upsert=True)
    await indexer.finished(first.job_id)
    await indexer.rpc.call(contract.DELETE_DOCUMENT, DeleteDocument(indexer.tenant_id, first.document_id))

    again = await indexer.put(TEXT, external_id="phoenix", upsert=True)
    job = await indexer.finished(again.job_id)

    assert (again.document_id, again.version > first.version) == (first.document_id, True)
    assert await indexer.index.count(indexer.tenant_id, again.document_id, active=True) == job.chunks_total


async def test_another_tenant_sees_nothing(indexer: Indexer) -> None:
    accepted = await indexer.put(TEXT)
    stranger = indexer.of_another_tenant()

    for method, request in (
        (contract.GET_DOCUMENT, DocumentRef(stranger.tenant_id, accepted.document_id)),
        (contract.DELETE_DOCUMENT, DeleteDocument(stranger.tenant_id, accepted.document_id)),
        (job_contract.GET_JOB, JobRef(stranger.tenant_id, accepted.job_id)),
    ):
        with pytest.raises(RemoteError) as refused:
            await indexer.rpc.call(method, request)  # type: ignore[arg-type]
        assert refused.value.data.status == 404
    page = await stranger.rpc.call(contract.LIST_DOCUMENTS, ListDocuments(stranger.tenant_id))
    assert page.documents == []
    assert (await indexer.finished(accepted.job_id)).state is JobState.SUCCEEDED


async def test_documents_are_listed_in_pages_without_gaps(indexer: Indexer) -> None:
    tenant = indexer.of_another_tenant()
    made = [(await tenant.put(None, title=f"document {n}")).document_id for n in range(7)]

    seen = []
    cursor = None
    while True:
        request = ListDocuments(tenant.tenant_id, limit=3, cursor=cursor)
        page = await tenant.rpc.call(contract.LIST_DOCUMENTS, request)
        seen += [document.id for document in page.documents]
        if (cursor := page.next_cursor) is None:
            break

    assert seen == made[::-1]
