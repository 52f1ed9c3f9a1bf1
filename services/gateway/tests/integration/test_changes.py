"""Documents that are there: found by their owner's id, changed, listed, read and indexed again."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from msgspec import UNSET

from quarry_common.contracts.documents import Chunk, DocumentPatch, ListDocuments, Order, Reindex
from quarry_common.contracts.filters import And, AnyOf, Field, Range
from quarry_common.contracts.jobs import Priority
from quarry_common.ids import new_id


async def add(client: httpx.AsyncClient, **body: object) -> str:
    answer = await client.post("/api/documents", json={"title": "x", **body})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["document_id"])


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


async def test_a_document_is_read_and_deleted_by_its_owners_id(client, backend) -> None:
    place = "/api/documents/by-external-id/a%2Fb/content"
    made = (await client.put(f"{place}?collection=contracts", json={"content": "x"})).json()

    read = await client.get(f"{place}?collection=contracts")
    assert (read.json()["id"], read.json()["external_id"]) == (made["document_id"], "a/b/content")
    assert (await client.get(place)).status_code == 404
    assert (await client.delete(f"{place}?collection=contracts")).json() == {"document_id": read.json()["id"]}
    assert (await client.get(f"{place}?collection=contracts")).status_code == 404


async def test_the_priority_is_passed_on(client, backend) -> None:
    await client.post("/api/documents", json={"title": "x"})
    await client.post("/api/documents?priority=bulk", json={"title": "x"})
    await client.put("/api/documents/by-external-id/a?priority=bulk", json={"title": "x"})

    assert [asked.priority for asked in backend.accepted] == [
        Priority.INTERACTIVE, Priority.BULK, Priority.BULK,
    ]  # fmt: skip
    assert "priority" in errors_of(await client.post("/api/documents?priority=high", json={"title": "x"}))


@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json; charset=UTF-8"])
async def test_a_patch_says_what_changes_and_what_stays(client, backend, kind) -> None:
    document_id = await add(client)
    body = {"tags": ["a"], "doc_type": None, "metadata": {"year": 2025, "draft": None}}

    answer = await client.patch(
        f"/api/documents/{document_id}", content=json.dumps(body), headers={"Content-Type": kind}
    )

    assert (answer.status_code, answer.json()["id"]) == (200, document_id)
    asked = backend.asked[-1]
    assert (asked.tenant_id, asked.document_id) == (backend.acme.id, UUID(document_id))
    assert asked.patch == DocumentPatch(doc_type=None, tags=["a"], metadata={"year": 2025, "draft": None})
    assert asked.patch.source_url is UNSET


@pytest.mark.parametrize("field", ["title", "content", "collection", "external_id", "nope"])
async def test_what_cannot_be_patched_is_refused_with_what_to_do(client, backend, field) -> None:
    document_id = await add(client)

    answer = await client.patch(f"/api/documents/{document_id}", json={field: "x", "tags": ["ok"]})

    assert set(errors_of(answer)) == {field}
    assert "PUT /api/documents/by-external-id/" in answer.json()["advice"]
    assert not any(hasattr(asked, "patch") for asked in backend.asked)


async def test_a_patch_keeps_the_limits_of_a_document(client, backend) -> None:
    document_id = await add(client)
    body = {
        "tags": ["", "ok"], "doc_type": "x" * 51, "source_url": 3,
        "metadata": {"big": 1 << 70, "n" * 101: 1, "deep": {"a": 1}}, "allowed_principals": "me",
    }  # fmt: skip

    answer = await client.patch(f"/api/documents/{document_id}", json=body)
    of_metadata = await client.patch(f"/api/documents/{document_id}", json={"metadata": {"big": 1 << 70}})
    nul = await client.patch(f"/api/documents/{document_id}", json={"tags": ["a\0"]})

    assert {field.split("[")[0].split(".")[0] for field in errors_of(answer)} == set(body)
    assert set(errors_of(of_metadata)) == {"metadata.big"}
    assert set(errors_of(nul)) == {"tags"}
    assert "PUT" not in answer.json()["advice"]


async def test_documents_are_listed_as_asked_for(client, backend) -> None:
    filters = json.dumps({"tags": {"any": ["a"]}, "metadata": {"year": {"gte": 2020}}})
    query = {"collection": "law", "status": "cancelled", "filter": filters, "sort": "title", "limit": 3}

    answer = await client.get("/api/documents", params=query)

    assert answer.status_code == 200, answer.text
    (asked,) = [each for each in backend.asked if isinstance(each, ListDocuments)]
    assert (asked.collection, asked.status, asked.limit) == ("law", "cancelled", 3)
    assert (asked.order, asked.descending) == (Order.TITLE, False)
    assert asked.filters == And(
        (AnyOf(Field.TAGS, ("a",)), Range(Field.METADATA, gte=2020.0, name="year"))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sort", "order", "descending"),
    [(None, "created_at", True), ("created_at", "created_at", False), ("-updated_at", "updated_at", True),
     ("-title", "title", True)],
)  # fmt: skip
async def test_a_dash_sorts_the_greatest_first(client, backend, sort, order, descending) -> None:
    await client.get("/api/documents", params={"sort": sort} if sort else {})

    asked = backend.asked[-1]
    assert (asked.order, asked.descending, asked.filters) == (Order(order), descending, None)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "filter"), ("[]", "filter"), ('"x"', "filter"), ("", "filter"), ("null", "filter"),
        ('{"nope":1}', "filter.nope"), ('{"and":[{"tags":3}]}', "filter.and[0].tags"),
        ('{"doc_type":"a\\u0000"}', "filter"), ('{"not":' * 1000 + "{}" + "}" * 1000, "filter"),
    ],
)  # fmt: skip
async def test_a_wrong_filter_of_a_list_is_told_by_its_path(client, text, field) -> None:
    assert field in errors_of(await client.get("/api/documents", params={"filter": text}))


async def test_an_empty_filter_leaves_nothing_out(client, backend) -> None:
    await client.get("/api/documents", params={"filter": "{}"})

    assert backend.asked[-1].filters is None


async def test_the_content_is_the_text_as_it_was_extracted(client, backend, blob_folder: Path) -> None:
    document_id = await add(client)
    text = "Zeile <b>eins</b>\r\n次の行\n" * 100_000
    folder = f"tenants/{backend.acme.id}/texts"
    backend.contents[UUID(document_id)] = f"{folder}/{document_id}"
    (blob_folder / folder).mkdir(exist_ok=True, parents=True)
    (blob_folder / folder / document_id).write_text(text, newline="")

    answer = await client.get(f"/api/documents/{document_id}/content")

    assert answer.status_code == 200
    assert answer.content == text.encode()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_a_content_that_was_purged_meanwhile_is_not_found(client, backend) -> None:
    document_id = await add(client)
    backend.contents[UUID(document_id)] = f"tenants/{backend.acme.id}/texts/gone"

    answer = await client.get(f"/api/documents/{document_id}/content")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "texts/gone" not in answer.text
    assert (await client.get(f"/api/documents/{uuid4()}/content")).status_code == 404


async def test_chunks_are_read_page_by_page(client, backend) -> None:
    document_id = await add(client)
    backend.chunks = [Chunk(new_id(), i, ["One"], None, 0, 4, 1, "text") for i in range(3)]

    answer = await client.get(f"/api/documents/{document_id}/chunks?limit=2&cursor=c")

    assert [chunk["ordinal"] for chunk in answer.json()["chunks"]] == [0, 1]
    assert answer.json()["document_id"] == document_id
    assert (backend.asked[-1].limit, backend.asked[-1].cursor) == (2, "c")
    assert (await client.get(f"/api/documents/{uuid4()}/chunks")).status_code == 404


async def test_documents_are_chosen_to_be_indexed_again(client, backend) -> None:
    ids = [uuid4(), uuid4()]
    body = {
        "document_ids": [str(each) for each in ids], "collection": "law", "filter": {"doc_type": "pdf"},
        "cursor": "c",
    }  # fmt: skip

    answer = await client.post("/api/documents/reindex", json=body)
    alone = await client.post("/api/documents/reindex", json={"collection": "law"})

    assert (answer.status_code, answer.json()) == (202, {"jobs": 7, "next_cursor": "more"})
    assert alone.status_code == 202
    asked = [each for each in backend.asked if isinstance(each, Reindex)]
    assert asked[0].document_ids == ids
    assert asked[0].filters == AnyOf(Field.DOC_TYPE, ("pdf",))
    assert (asked[0].collection, asked[0].cursor) == ("law", "c")
    assert (asked[1].document_ids, asked[1].filters) == (None, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "document_ids"), ({"cursor": "c"}, "document_ids"), ({"filter": {}}, "filter"),
        ({"document_ids": []}, "document_ids"), ({"document_ids": ["7"]}, "document_ids[0]"),
        ({"document_ids": [str(uuid4())] * 1001}, "document_ids"), ({"filter": {"nope": 1}}, "filter.nope"),
        ({"collection": "No Name"}, "collection"), ({"collection": "law", "all": True}, "all"),
    ],
)  # fmt: skip
async def test_a_choice_that_says_nothing_or_nonsense_indexes_nothing(client, backend, body, field) -> None:
    answer = await client.post("/api/documents/reindex", json=body)

    assert field in errors_of(answer)
    assert not any(isinstance(each, Reindex) for each in backend.asked)
