"""What other services ask of a tenant as a whole: what it has and used, whose an id is, its removal."""

from datetime import UTC, datetime, timedelta

import pytest

from quarry_common.contracts.audit import MAX_OWNED, OWNERS_OF, OwnersOf
from quarry_common.contracts.documents import (
    ACCEPT,
    ACCEPT_BATCH,
    Accept,
    AcceptBatch,
    BatchItem,
    DocumentFields,
    Room,
)
from quarry_common.contracts.purging import PURGE_DOCUMENTS, PurgeTenant
from quarry_common.contracts.usage import INDEX_DAYS, STORED_NOW, StoredNow, TenantRef, UsageRange
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id

from .conftest import Indexer

TEXT = b"# Mining\n\nQuarries give stone.\n"


@pytest.fixture
def tenant(indexer: Indexer) -> Indexer:
    return indexer.of_another_tenant()


async def test_what_a_tenant_has_and_used_is_told(tenant: Indexer) -> None:
    await tenant.searchable(TEXT)
    today = datetime.now(UTC).date()
    range_ = UsageRange(tenant.tenant_id, today - timedelta(days=1), today)

    stored = await tenant.rpc.call(STORED_NOW, TenantRef(tenant.tenant_id))
    day = (await tenant.rpc.call(INDEX_DAYS, range_)).days[-1]

    assert stored == StoredNow(1, len(TEXT))
    assert (day.documents_added, day.bytes_added, day.chunks) == (1, len(TEXT), 1)
    assert day.tokens > 3
    assert (day.documents, day.storage_bytes) == (1, len(TEXT))


async def test_a_request_beyond_the_room_that_comes_with_it_is_refused(tenant: Indexer) -> None:
    blob = await tenant.store(TEXT)
    request = Accept(tenant.tenant_id, DocumentFields(), blob, room=Room(storage_bytes=len(TEXT) - 1))

    with pytest.raises(RemoteError) as refused:
        await tenant.rpc.call(ACCEPT, request)

    assert (refused.value.data.code, refused.value.data.status) == ("quota_exceeded", 429)


async def test_a_body_of_another_tenant_is_refused_and_left_where_it_is(tenant: Indexer) -> None:
    stranger = tenant.of_another_tenant()
    theirs = await stranger.store(TEXT)
    items = [BatchItem(DocumentFields(), theirs)]

    with pytest.raises(RemoteError) as one:
        await tenant.rpc.call(ACCEPT, Accept(tenant.tenant_id, DocumentFields(), theirs))
    with pytest.raises(RemoteError) as many:
        await tenant.rpc.call(ACCEPT_BATCH, AcceptBatch(tenant.tenant_id, items))

    assert [each.value.data.code for each in (one, many)] == ["not_found"] * 2
    assert (await tenant.rpc.call(STORED_NOW, TenantRef(tenant.tenant_id))).documents == 0
    assert await stranger.blobs.of(stranger.tenant_id).get_text(theirs.path) == TEXT.decode()


async def test_documents_and_jobs_of_any_tenant_have_their_owner(tenant: Indexer) -> None:
    stranger, nothing = tenant.of_another_tenant(), new_id()
    mine, theirs = await tenant.put(TEXT), await stranger.put(TEXT)

    asked = OwnersOf([mine.document_id, theirs.job_id, nothing, theirs.document_id])
    owners = (await tenant.rpc.call(OWNERS_OF, asked)).tenants

    assert owners == {
        str(mine.document_id): tenant.tenant_id,
        str(theirs.job_id): stranger.tenant_id,
        str(theirs.document_id): stranger.tenant_id,
    }


async def test_the_owners_of_few_ids_are_told_at_once(tenant: Indexer) -> None:
    with pytest.raises(RemoteError) as refused:
        await tenant.rpc.call(OWNERS_OF, OwnersOf([new_id() for _ in range(MAX_OWNED + 1)]))

    assert refused.value.data.code == "validation_failed"


async def test_a_tenant_is_removed_while_its_documents_are_indexed(tenant: Indexer) -> None:
    await tenant.searchable(TEXT)
    long = "\n\n".join(f"Paragraph {n} tells of stone number {n}." for n in range(3000)).encode()
    waiting = [await tenant.put(long) for _ in range(3)]
    request = PurgeTenant(tenant.tenant_id, seconds=20)

    answer = await tenant.rpc.call(PURGE_DOCUMENTS, request, timeout_seconds=30)

    assert {store: count for store, count in answer.left.items() if count} == {}
    assert answer.removed["postgres.indexer.jobs"] == 4
    assert await tenant.index.count(tenant.tenant_id) == 0
    assert await tenant.blobs.of(tenant.tenant_id).first(1) == []
    with pytest.raises(RemoteError) as missing:
        await tenant.job(waiting[0].job_id)
    assert missing.value.data.status == 404
