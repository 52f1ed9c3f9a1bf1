"""Many documents at once: accepted in one transaction, each with its own outcome; indexed again."""

import pytest

from quarry_common.contracts import documents as contract
from quarry_common.contracts.documents import Reindex
from quarry_common.contracts.filters import AnyOf, Field
from quarry_common.contracts.jobs import JobState, Priority
from quarry_common.errors import RemoteError

from .conftest import Embedded, Indexer, until


@pytest.fixture
def tenant(indexer: Indexer) -> Indexer:
    return indexer.of_another_tenant()


async def reindex(tenant: Indexer, **chosen: object) -> int:
    request = Reindex(tenant.tenant_id, **chosen)  # type: ignore[arg-type]
    return (await tenant.rpc.call(contract.REINDEX, request)).jobs


async def test_the_documents_of_a_batch_become_searchable(tenant: Indexer) -> None:
    batch = await tenant.put_batch(*(f"text number {n}" for n in range(40)))

    accepted = [result.accepted for result in batch.results]
    jobs = [await tenant.finished(each.job_id) for each in accepted if each is not None]

    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 40
    assert {job.priority for job in jobs} == {Priority.BULK}
    assert await tenant.index.count(tenant.tenant_id, active=True) == 40


async def test_what_is_refused_in_a_batch_keeps_nothing_else_out(tenant: Indexer) -> None:
    batch = await tenant.put_batch("good", "", "also good")

    codes = [result.error.code if result.error else "" for result in batch.results]
    assert codes == ["", "document_empty", ""]
    assert [result.accepted is not None for result in batch.results] == [True, False, True]


async def test_a_batch_into_a_collection_that_is_not_there_is_refused_item_by_item(tenant: Indexer) -> None:
    batch = await tenant.put_batch("text", collection="nowhere")

    assert batch.results[0].error is not None
    assert (batch.results[0].error.code, batch.results[0].error.status) == ("collection_not_found", 404)

    async def no_blob() -> bool:
        return not [entry async for entry in tenant.blobs.list(f"tenants/{tenant.tenant_id}")]

    await until(no_blob)


async def test_a_batch_that_is_sent_again_changes_nothing(tenant: Indexer) -> None:
    first = await tenant.put_batch("one", "two", upsert=True)
    for result in first.results:
        assert result.accepted is not None
        await tenant.finished(result.accepted.job_id)

    again = await tenant.put_batch("one", "two and more", upsert=True)

    assert [result.accepted.unchanged for result in again.results if result.accepted] == [True, False]


async def test_a_document_that_stands_in_a_batch_twice_is_what_its_last_entry_says(tenant: Indexer) -> None:
    items = [
        contract.BatchItem(contract.DocumentFields(external_id="a"), await tenant.store(text))
        for text in (b"first", b"second")
    ]
    request = contract.AcceptBatch(tenant.tenant_id, items, upsert=True)

    batch = await tenant.rpc.call(contract.ACCEPT_BATCH, request)
    versions = [result.accepted.version for result in batch.results if result.accepted]
    last = batch.results[1].accepted
    assert last is not None
    await tenant.finished(last.job_id)

    assert versions == [1, 2]
    assert (await tenant.document(last.document_id)).version == 2


async def test_a_batch_under_a_key_is_accepted_once(tenant: Indexer) -> None:
    first = await tenant.put_batch("one", "two", key="batch")
    again = await tenant.put_batch("one", "two", key="batch")

    with pytest.raises(RemoteError) as refused:
        await tenant.put_batch("one", "three", key="batch")

    assert first == again
    assert refused.value.data.code == "idempotency_key_reused"
    page = await tenant.rpc.call(contract.LIST_DOCUMENTS, contract.ListDocuments(tenant.tenant_id))
    assert len(page.documents) == 2


async def test_a_document_that_is_indexed_again_keeps_its_revision_and_embeds_nothing(
    tenant: Indexer, embedded: Embedded
) -> None:
    accepted = await tenant.searchable(b"text that stays", tags=["a"])
    before = await tenant.document(accepted.document_id)
    assert len(embedded.of("text that stays")) == 1

    assert await reindex(tenant, document_ids=[accepted.document_id]) == 1

    async def replaced() -> bool:
        return (await tenant.document(accepted.document_id)).version == 2

    await until(replaced)
    after = await tenant.document(accepted.document_id)
    assert (after.revision, after.tags, after.size_bytes) == (before.revision, ["a"], before.size_bytes)

    async def only_the_new() -> bool:
        return await tenant.index.count(tenant.tenant_id, accepted.document_id) == 1

    await until(only_the_new)
    # The file belongs to both versions: the purge of the first must leave it.
    assert await reindex(tenant, document_ids=[accepted.document_id]) == 1

    async def replaced_again() -> bool:
        return (await tenant.document(accepted.document_id)).version == 3

    await until(replaced_again)
    assert len(embedded.of("text that stays")) == 1


async def test_a_filter_chooses_what_is_indexed_again(tenant: Indexer) -> None:
    for n in range(4):
        await tenant.searchable(f"text {n}".encode(), tags=["even" if n % 2 == 0 else "odd"])

    assert await reindex(tenant, filters=AnyOf(Field.TAGS, ("odd",))) == 2
    assert await reindex(tenant, collection="default") >= 2


async def test_what_waits_to_be_indexed_is_not_queued_again(tenant: Indexer) -> None:
    await tenant.put("\n\n".join(f"Paragraph {n}." for n in range(3000)).encode())

    assert await reindex(tenant, collection="default") == 0


async def test_a_collection_that_is_not_there_cannot_be_indexed_again(tenant: Indexer) -> None:
    with pytest.raises(RemoteError) as refused:
        await reindex(tenant, collection="nowhere")

    assert refused.value.data.code == "collection_not_found"
