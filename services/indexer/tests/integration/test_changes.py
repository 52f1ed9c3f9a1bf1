"""What is said of documents: changed without embedding, on conditions; read in full and in parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from quarry_common.contracts import documents as contract
from quarry_common.contracts.documents import (
    Condition,
    DeleteDocument,
    Document,
    DocumentPatch,
    DocumentRef,
    ListChunks,
    ListDocuments,
    Order,
    PatchDocument,
)
from quarry_common.contracts.filters import AnyOf, Field, parse
from quarry_common.embedding import bm25
from quarry_common.errors import RemoteError, UnavailableError
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import load
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.queries import Legs
from quarry_indexer.handlers.changes import Changes
from quarry_indexer.indexing.inspection import Inspection
from quarry_indexer.indexing.recount import Recount
from quarry_indexer.indexing.upkeep import Upkeep
from quarry_indexer.settings import IndexerSettings

from .conftest import Embedded, Indexer, until

TEXT = "# Mining\n\nQuarries give stone. Größe, 石, 🪨.\n\n## Safety\n\nHelmets are worn below the crane.\n"


@pytest.fixture
def tenant(indexer: Indexer) -> Indexer:
    return indexer.of_another_tenant()


async def patch(tenant: Indexer, document: Document | DocumentRef, **fields: object) -> Document:
    condition = fields.pop("condition", None)
    identity = document.id if isinstance(document, Document) else document.document_id
    request = PatchDocument(
        tenant.tenant_id,
        identity,
        patch=DocumentPatch(**fields),  # type: ignore[arg-type]
        condition=condition,  # type: ignore[arg-type]
    )
    return await tenant.rpc.call(contract.PATCH_DOCUMENT, request)


async def stored(tenant: Indexer, content: str = TEXT, **fields: object) -> Document:
    accepted = await tenant.searchable(content.encode(), file_name="file.md", **fields)
    return await tenant.document(accepted.document_id)


async def hits(tenant: Indexer, query: str, filters: object = None) -> int:
    scope = Scope(tenant.tenant_id, filters=filters)  # type: ignore[arg-type]
    legs = Legs(sparse=bm25.encode_query(query))
    return len((await tenant.index.search(scope, legs, depth=10)).candidates)


async def test_a_patch_changes_the_document_and_its_points_and_embeds_nothing(
    tenant: Indexer, embedded: Embedded
) -> None:
    document = await stored(tenant, tags=["old"], metadata={"year": 2020, "author": "Ada"})
    known = embedded.of("Helmets")
    assert known

    changed = await patch(tenant, document, tags=["new"], metadata={"year": None, "place": "Carrara"})

    assert (changed.tags, changed.metadata) == (["new"], {"author": "Ada", "place": "Carrara"})
    assert (changed.version, changed.revision) == (document.version, document.revision + 1)
    assert await hits(tenant, "helmets", AnyOf(Field.TAGS, ("new",))) == 1
    assert await hits(tenant, "helmets", AnyOf(Field.TAGS, ("old",))) == 0
    assert await hits(tenant, "helmets", AnyOf(Field.METADATA, ("Carrara",), "place")) == 1
    assert await hits(tenant, "helmets", AnyOf(Field.METADATA, (2020,), "year")) == 0
    assert embedded.of("Helmets") == known


async def test_null_empties_a_field_and_what_is_left_out_stays(tenant: Indexer) -> None:
    document = await stored(tenant, tags=["a"], source_url="https://example.org", allowed_principals=["x"])

    changed = await patch(tenant, document, tags=None, allowed_principals=None)

    assert (changed.tags, changed.source_url, changed.allowed_principals) == ([], "https://example.org", None)


async def test_principals_taken_away_are_gone_from_the_index_when_the_answer_comes(tenant: Indexer) -> None:
    document = await stored(tenant)
    assert await hits(tenant, "helmets") == 1

    await patch(tenant, document, allowed_principals=["ada"])

    assert await hits(tenant, "helmets") == 0


async def test_what_its_owner_sends_again_undoes_a_patch(tenant: Indexer) -> None:
    document = await stored(tenant, external_id="synchronised", tags=["theirs"])
    await patch(tenant, document, tags=["patched"])

    again = await stored(tenant, external_id="synchronised", upsert=True, tags=["theirs"])

    assert (again.id, again.version, again.tags) == (document.id, document.version + 1, ["theirs"])


async def test_too_much_metadata_is_refused_and_changes_nothing(tenant: Indexer) -> None:
    document = await stored(tenant, metadata={f"a{n}": n for n in range(60)})

    with pytest.raises(RemoteError) as refused:
        await patch(tenant, document, metadata={f"b{n}": n for n in range(60)})

    assert refused.value.data.errors[0].field == "metadata"
    assert (await tenant.document(document.id)).metadata == document.metadata


async def test_a_patch_during_indexing_is_there_when_the_version_is_found(tenant: Indexer) -> None:
    long = "\n\n".join(f"Paragraph {n} about stone {n}." for n in range(1500))
    accepted = await tenant.put(long.encode())

    async def under_way() -> bool:
        return (await tenant.job(accepted.job_id)).chunks_done > 0

    await until(under_way, 60)
    await patch(tenant, DocumentRef(tenant.tenant_id, accepted.document_id), tags=["late"])
    job = await tenant.finished(accepted.job_id)

    late = AnyOf(Field.TAGS, ("late",))
    count = await tenant.index.count(tenant.tenant_id, accepted.document_id, active=True)
    assert count == job.chunks_total
    assert await hits(tenant, "stone", late) == 10


async def test_a_change_of_a_revision_that_is_no_more_is_refused(tenant: Indexer) -> None:
    document = await stored(tenant)
    seen = Condition(revisions=[document.revision])
    await patch(tenant, document, tags=["first"], condition=seen)

    for attempt in (
        patch(tenant, document, tags=["second"], condition=seen),
        tenant.rpc.call(
            contract.DELETE_DOCUMENT, DeleteDocument(tenant.tenant_id, document.id, condition=seen)
        ),
    ):
        with pytest.raises(RemoteError) as refused:
            await attempt
        assert refused.value.data.status == 412
    assert (await tenant.document(document.id)).tags == ["first"]


async def test_a_replacement_keeps_to_its_condition(tenant: Indexer) -> None:
    document = await stored(tenant, external_id="a")
    blob = await tenant.store(b"other")
    fields = contract.DocumentFields(external_id="a")

    def asked(condition: Condition) -> contract.Accept:
        return contract.Accept(tenant.tenant_id, fields, blob, upsert=True, condition=condition)

    for condition in (Condition(revisions=[document.revision + 1]), Condition(missing=True)):
        with pytest.raises(RemoteError) as refused:
            await tenant.rpc.call(contract.ACCEPT, asked(condition))
        assert refused.value.data.code == "precondition_failed"
    accepted = await tenant.rpc.call(contract.ACCEPT, asked(Condition(revisions=[document.revision])))
    assert (accepted.version, accepted.revision) == (2, document.revision + 1)


@asynccontextmanager
async def own_changes(
    environment: dict[str, str], index: VectorIndex
) -> AsyncIterator[tuple[Changes, Upkeep]]:
    """The handlers by themselves, with an index of the test's."""
    settings = load(IndexerSettings, environment)
    async with connect_pool(settings, "indexer") as database:
        changes = Changes(database, index, lambda: None, lambda: None)
        upkeep = Upkeep(
            database,
            None,  # type: ignore[arg-type]
            index,
            Inspection(database, index, lambda: None),
            Recount(database, interval_seconds=0),
            interval_seconds=0,
            embedding_days=30,
        )
        yield changes, upkeep


async def test_a_patch_that_the_index_cannot_follow_changes_nothing_in_the_end(
    tenant: Indexer, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await stored(tenant, tags=["before"])
    request = PatchDocument(tenant.tenant_id, document.id, patch=DocumentPatch(tags=["after"]))
    update = VectorIndex.update_payload

    async def dies_afterwards(index: VectorIndex, *arguments: object) -> None:
        await update(index, *arguments)  # type: ignore[arg-type]
        raise UnavailableError("the answer was lost")

    async with own_changes(environment, tenant.index) as (changes, upkeep):
        with monkeypatch.context() as patched:
            patched.setattr(VectorIndex, "update_payload", dies_afterwards)
            with pytest.raises(UnavailableError):
                await changes.patch(request)
        assert await hits(tenant, "helmets", AnyOf(Field.TAGS, ("after",))) == 1

        await upkeep._mend()

    assert (await tenant.document(document.id)).tags == ["before"]
    assert await hits(tenant, "helmets", AnyOf(Field.TAGS, ("before",))) == 1
    assert await hits(tenant, "helmets", AnyOf(Field.TAGS, ("after",))) == 0


async def test_the_text_and_the_chunks_of_a_document_agree(tenant: Indexer) -> None:
    text = "\n\n".join(f"# Chapter {n}\n\n" + f"Größe {n} 石🪨. " * 60 for n in range(8))
    document = await stored(tenant, text)
    reference = DocumentRef(tenant.tenant_id, document.id)

    content = await tenant.rpc.call(contract.GET_CONTENT, reference)
    extracted = await tenant.blobs.of(tenant.tenant_id).get_text(content.path)
    seen, cursor = [], None
    while True:
        request = ListChunks(tenant.tenant_id, document.id, limit=3, cursor=cursor)
        page = await tenant.rpc.call(contract.LIST_CHUNKS, request)
        seen += page.chunks
        if (cursor := page.next_cursor) is None:
            break

    assert [chunk.ordinal for chunk in seen] == list(range(document.chunk_count))
    assert all(chunk.text == extracted[chunk.char_start : chunk.char_end] for chunk in seen)
    passages = await tenant.index.fetch(Scope(tenant.tenant_id), [str(chunk.id) for chunk in seen])
    assert {chunk.text for chunk in seen} == {passage.text for passage in passages.values()}


async def test_a_document_without_text_yet_says_so(tenant: Indexer) -> None:
    accepted = await tenant.put(b"%PDF-1.7 broken", file_name="x.pdf")
    await tenant.finished(accepted.job_id)

    with pytest.raises(RemoteError) as refused:
        await tenant.rpc.call(contract.GET_CONTENT, DocumentRef(tenant.tenant_id, accepted.document_id))

    assert (refused.value.data.status, "failed" in refused.value.data.detail) == (404, True)


@pytest.fixture(scope="session")
async def library(indexer: Indexer) -> Indexer:
    """Documents of many kinds, in a tenant of their own."""
    tenant = indexer.of_another_tenant()
    for n in range(12):
        await tenant.searchable(
            f"text {n}".encode(),
            title=f"Title {n % 5}",
            doc_type=["report", "note"][n % 2],
            tags=[f"t{n % 3}", f"u{n % 4}"],
            metadata={"n": n, "half": n / 2, "list": [n, n + 1], "even": n % 2 == 0,
                      "day": f"2026-01-{n + 1:02}T00:00:00Z"} | ({"rare": "x"} if n == 7 else {}),
            external_id=f"x{n}" if n > 3 else None,
        )  # fmt: skip
    return tenant


FILTERS = {
    "a type": ({"doc_type": "report"}, lambda d, n: n % 2 == 0),
    "any tag": ({"tags": {"any": ["t0", "u3"]}}, lambda d, n: n % 3 == 0 or n % 4 == 3),
    "all tags": ({"tags": {"all": ["t0", "u0"]}}, lambda d, n: n % 12 == 0),
    "no tag": ({"tags": {"none": ["t0"]}}, lambda d, n: n % 3 != 0),
    "a number": ({"metadata": {"n": 5}}, lambda d, n: n == 5),
    "a number written otherwise": ({"metadata": {"half": 2}}, lambda d, n: n == 4),
    "a range": ({"metadata": {"n": {"gt": 2, "lte": 6}}}, lambda d, n: 2 < n <= 6),
    "one of a list": ({"metadata": {"list": [3]}}, lambda d, n: n in {2, 3}),
    "a flag": ({"metadata": {"even": True}}, lambda d, n: n % 2 == 0),
    "a flag is no number": ({"metadata": {"n": True}}, lambda d, n: False),
    "a time": ({"metadata": {"day": {"gte": "2026-01-10T00:00:00Z"}}}, lambda d, n: n >= 9),
    "there": ({"metadata": {"rare": {"exists": True}}}, lambda d, n: n == 7),
    "not there": ({"external_id": {"exists": False}}, lambda d, n: n <= 3),
    "not": ({"not": {"external_id": ["x4", "x5"]}}, lambda d, n: n not in {4, 5}),
    "or": ({"or": [{"metadata": {"n": 1}}, {"tags": "u2"}]}, lambda d, n: n == 1 or n % 4 == 2),
    "created": ({"created_at": {"gte": "2020-01-01T00:00:00Z"}}, lambda d, n: True),
    "ne": ({"metadata": {"n": {"ne": 3}}}, lambda d, n: n != 3),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_a_list_holds_what_its_filter_lets_through(library: Indexer, name: str) -> None:
    raw, wanted = FILTERS[name]
    request = ListDocuments(library.tenant_id, filters=parse(raw), limit=100)

    page = await library.rpc.call(contract.LIST_DOCUMENTS, request)

    numbers = {document.metadata["n"] for document in page.documents}
    assert numbers == {n for n in range(12) if wanted(None, n)}


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("order", Order)
async def test_a_list_is_sorted_and_paged_without_gaps(
    library: Indexer, order: Order, descending: bool
) -> None:
    def value(document: Document) -> tuple[object, object]:
        return getattr(document, order.value), document.id

    seen, cursor = [], None
    while True:
        request = ListDocuments(library.tenant_id, order=order, descending=descending, limit=5, cursor=cursor)
        page = await library.rpc.call(contract.LIST_DOCUMENTS, request)
        seen += page.documents
        if (cursor := page.next_cursor) is None:
            break

    assert len(seen) == 12
    assert seen == sorted(seen, key=value, reverse=descending)  # type: ignore[arg-type]


async def test_a_cursor_of_another_order_is_refused(library: Indexer) -> None:
    page = await library.rpc.call(contract.LIST_DOCUMENTS, ListDocuments(library.tenant_id, limit=5))
    other = ListDocuments(library.tenant_id, order=Order.TITLE, limit=5, cursor=page.next_cursor)

    with pytest.raises(RemoteError) as refused:
        await library.rpc.call(contract.LIST_DOCUMENTS, other)

    assert refused.value.data.errors[0].field == "cursor"


def test_a_patch_knows_what_was_left_out() -> None:
    decoded = msgspec.json.decode(b'{"tags": null}', type=DocumentPatch)

    assert decoded.tags is None
    assert decoded.metadata is msgspec.UNSET
