"""Many documents in one request."""

import json
from typing import Any

import httpx
import pytest

from quarry_common.contracts.jobs import Priority
from quarry_common.errors import (
    ConflictError,
    DeadlineExceededError,
    IdempotencyKeyReusedError,
    PayloadTooLargeError,
    UnavailableError,
)

PATH = "/api/documents/batch"


def batch(count: int, **more: object) -> dict[str, object]:
    items = [{"external_id": f"d/{i}", "title": f"t{i}", "content": f"text {i}"} for i in range(count)]
    return {"documents": items, **more}


async def send(client: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    answer = await client.post(PATH, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer


def statuses(answer: httpx.Response) -> list[str]:
    return [result["status"] for result in answer.json()["results"]]


async def test_every_document_of_a_batch_is_accepted_with_its_content_as_a_blob(
    client, backend, blob_folder
) -> None:
    body = batch(3, upsert=True)
    body["documents"][1] |= {"doc_type": "markdown", "metadata": {"year": 2024}, "collection": "law"}
    body["documents"][2] = {"title": "Only a title"}

    answer = (await send(client, body)).json()

    assert (answer["accepted"], answer["unchanged"], answer["rejected"]) == (3, 0, 0)
    assert [result["index"] for result in answer["results"]] == [0, 1, 2]
    first = answer["results"][0]
    assert set(first) == {"index", "status", "document_id", "job_id", "version", "unchanged", "revision"}
    assert (await client.get(f"/api/jobs/{first['job_id']}")).json()["document_id"] == first["document_id"]
    (asked,) = backend.batches
    assert (asked.tenant_id, asked.upsert, asked.priority) == (backend.acme.id, True, Priority.BULK)
    assert asked.items[1].document.metadata == {"year": 2024}
    assert asked.items[1].blob.declared_type == "text/markdown"
    assert asked.items[1].blob.path.startswith(f"tenants/{backend.acme.id}/uploads/")
    assert (blob_folder / asked.items[1].blob.path).read_text() == "text 1"
    assert asked.items[2].blob is None


async def test_a_batch_may_be_urgent_and_need_not_replace_anything(client, backend) -> None:
    await send(client, batch(1, priority="interactive"))

    (asked,) = backend.batches
    assert (asked.upsert, asked.priority) == (False, Priority.INTERACTIVE)


async def test_unchanged_documents_are_told_apart(client, backend) -> None:
    await send(client, batch(2, upsert=True))
    body = batch(2, upsert=True)
    body["documents"][1]["content"] = "another text"

    answer = await send(client, body)

    assert statuses(answer) == ["unchanged", "accepted"]
    assert (answer.json()["unchanged"], answer.json()["accepted"]) == (1, 1)
    assert answer.json()["results"][0]["unchanged"] is True


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "content"),
        ({"content": " \n"}, "content"),
        ({"title": 3}, "title"),
        ({"titel": "x"}, "titel"),
        ({"title": "x", "tags": ["a", ""]}, "tags[1]"),
        ({"title": "x", "metadata": {"a": 1 << 70}}, "metadata.a"),
        ({"title": "a\0b"}, "title"),
        ({"title": "x", "metadata": {"a": ["b\0"]}}, "metadata"),
        (7, ""),
        (None, ""),
        ([], ""),
        ({"title": "x", "collection": "No Name"}, "collection"),
        ({"title": "x", "metadata": {"a": 10**400}}, "metadata.a"),
    ],
)
async def test_a_wrong_document_is_rejected_and_harms_no_other(client, backend, document, field) -> None:
    body = batch(2)
    body["documents"].insert(1, document)

    answer = await send(client, body)

    assert statuses(answer) == ["accepted", "rejected", "accepted"]
    error = answer.json()["results"][1]["error"]
    assert set(error) == {"type", "title", "status", "code", "detail", "advice", "errors"}
    assert (error["status"], error["code"], error["type"]) == (
        422, "validation_failed", "/problems/validation_failed",
    )  # fmt: skip
    assert field in {each["field"] for each in error["errors"]}
    assert [item.document.title for item in backend.batches[0].items] == ["t0", "t1"]


async def test_of_documents_that_are_wrong_throughout_the_first_errors_are_told(client, backend) -> None:
    document = {"tags": [0] * 200, **{f"unknown{i}": 1 for i in range(200)}}

    answer = await send(client, {"documents": [document] * 300})

    counts = [len(result["error"]["errors"]) for result in answer.json()["results"]]
    assert counts == [10] * 50 + [1] * 250
    assert backend.batches == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"[]", 422, ""),
        (b"{}", 422, "documents"),
        (b'{"documents":[]}', 422, "documents"),
        (b'{"documents":{}}', 422, "documents"),
        (b'{"documents":[' + b"{}," * 1000 + b"{}]}", 422, "documents"),
        (b'{"documents":[{"title":"x"}],"upsert":1}', 422, "upsert"),
        (b'{"documents":[{"title":"x"}],"priority":"high"}', 422, "priority"),
        (b'{"documents":[{"title":"x"}],"wait":true}', 422, "wait"),
        (b'{"documents":[{"title":"\\u0000"}],"upsert":1}', 422, "upsert"),
        (b'{"documents":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", 400, None),
        (b'{"documents":[{"title":"' + b"x" * (3 << 20) + b'"}]}', 413, None),
    ],
)
async def test_a_batch_that_cannot_be_read_is_a_problem(client, backend, body, status, field) -> None:
    answer = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field is None or field in {error["field"] for error in answer.json()["errors"]}
    assert backend.batches == []


async def test_a_large_batch_goes_in_parts_and_is_told_in_its_order(client, backend) -> None:
    answer = await send(client, batch(250), **{"Idempotency-Key": "import-1"})

    assert [len(asked.items) for asked in backend.batches] == [100, 100, 50]
    assert [asked.idempotency_key for asked in backend.batches] == ["import-1#0", "import-1#1", "import-1#2"]
    assert len({asked.request_sha256 for asked in backend.batches}) == 1
    assert [result["index"] for result in answer.json()["results"]] == list(range(250))
    assert answer.json()["accepted"] == 250


async def test_parts_fit_into_a_message_however_much_is_said_of_documents(client, backend) -> None:
    items = [{"title": f"t{i}", "metadata": {"long": ["x" * 9_000] * 11}} for i in range(12)]

    answer = await send(client, {"documents": items})

    assert answer.json()["accepted"] == 12
    assert [len(asked.items) for asked in backend.batches] == [5, 5, 2]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"priority": "bulk"}, True),
        ({"upsert": True}, False),
        ({"priority": "interactive"}, False),
        ({"last": "another text"}, False),
    ],
)
async def test_the_digest_is_of_the_whole_request_whichever_way_it_is_written(
    client, backend, changed, same
) -> None:
    told = {"metadata": {"year": 2024, "author": "Ada"}}
    first_body: Any = batch(101)
    first_body["documents"] = [{**item, **told} for item in first_body["documents"]]
    await send(client, first_body)
    first = backend.batches[0].request_sha256
    body = batch(101, **{name: value for name, value in changed.items() if name != "last"})
    documents: Any = body["documents"]
    documents[100]["content"] = changed.get("last", documents[100]["content"])
    # Members in another order, and what is left out said aloud.
    told = {"metadata": dict(reversed(told["metadata"].items()))}
    body["documents"] = [{"tags": [], **told, **dict(reversed(item.items()))} for item in documents]

    await send(client, body)

    assert len(first) == 32
    assert (backend.batches[2].request_sha256 == first) is same


async def test_documents_that_the_indexer_refuses_leave_no_blob(client, backend, stored) -> None:
    before = stored()
    backend.refuse_titles = {"t0": ConflictError("The external id is taken.")}

    answer = await send(client, batch(2))

    assert statuses(answer) == ["rejected", "accepted"]
    error = answer.json()["results"][0]["error"]
    assert (error["status"], error["code"], error["detail"]) == (409, "conflict", "The external id is taken.")
    assert len(stored()) == len(before) + 1


async def test_a_part_that_fails_after_others_rejects_what_is_left_and_leaves_no_blob(
    client, backend, stored
) -> None:
    before = stored()
    backend.refuse_batch = {1: UnavailableError("The database cannot be reached.")}
    body = batch(250)
    body["documents"][249] = {}

    answer = await send(client, body)

    assert statuses(answer) == ["accepted"] * 100 + ["rejected"] * 150
    errors = [result["error"] for result in answer.json()["results"][100:]]
    assert {error["status"] for error in errors[:-1]} == {503}
    assert "again" in errors[0]["advice"].lower()
    assert errors[-1]["status"] == 422
    assert len(backend.batches) == 2
    # Whether an indexer that failed inside has accepted the part is not known: the sweep looks at those.
    assert len(stored()) == len(before) + 200


async def test_a_document_too_large_for_a_message_is_rejected_alone(client, backend, stored) -> None:
    before = stored()
    backend.refuse_batch = {0: PayloadTooLargeError("The request is too large for a message.")}
    large = {"title": "x", "content": "y", "metadata": {f"n{i}": "z" * 9_000 for i in range(60)}}

    answer = await send(client, {"documents": [large, {"title": "small"}]})

    assert statuses(answer) == ["rejected", "accepted"]
    assert answer.json()["results"][0]["error"]["code"] == "payload_too_large"
    assert stored() == before


async def test_when_it_is_unknown_whether_a_part_was_accepted_its_blobs_stay(client, backend, stored) -> None:
    before = stored()
    backend.refuse_batch = {0: DeadlineExceededError("It took too long.")}

    answer = await client.post(PATH, json=batch(2))

    assert answer.status_code == 504
    assert len(stored()) == len(before) + 2


async def test_a_batch_of_which_nothing_was_accepted_is_the_problem_itself(client, backend, stored) -> None:
    before = stored()
    backend.refuse_batch = {0: IdempotencyKeyReusedError("Another request came with this key before.")}

    answer = await client.post(PATH, json=batch(150), headers={"Idempotency-Key": "a"})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert stored() == before
    assert len(backend.batches) == 1


async def test_without_an_indexer_a_batch_is_503_and_leaves_no_blob(
    http, nats_url, answer_for, idle_backend, stored
) -> None:
    before = stored()
    async with answer_for(idle_backend, nats_url, "tenants"):
        answer = await http.post(PATH, json=batch(3), headers={"X-API-Key": idle_backend.key()})

    assert answer.status_code == 503
    assert stored() == before


async def test_a_batch_reads_json_only(client, backend) -> None:
    answer = await client.post(PATH, files={"file": ("a.txt", json.dumps(batch(1)).encode())})

    assert answer.status_code == 415
