"""What an upload is answered with: a job that can be read at once, one document for one idempotency key."""

import asyncio
from uuid import UUID

from tests.platform import Tenant


async def test_a_job_can_be_read_as_soon_as_its_id_is_known(tenant: Tenant) -> None:
    async def send_and_read(number: int) -> tuple[int, int, bool]:
        sent = await tenant.http.post("/api/documents", json={"title": f"note {number}", "content": "Text."})
        read = await tenant.http.get(sent.headers["location"])
        return sent.status_code, read.status_code, read.json()["id"] == sent.json()["job_id"]

    answers = await asyncio.gather(*(send_and_read(number) for number in range(20)))

    assert answers == [(202, 200, True)] * 20


async def test_waiting_answers_when_the_document_can_be_found(tenant: Tenant) -> None:
    sent = await tenant.http.post(
        "/api/documents",
        json={"title": "Waited for", "content": "A cormorant dries its wings."},
        params={"wait": "searchable", "timeout_seconds": "60"},
    )

    assert sent.status_code == 200
    assert (await tenant.search("cormorant", mode="keyword")).results[0].title == "Waited for"


async def test_waiting_for_a_file_that_cannot_be_read_answers_its_error(tenant: Tenant) -> None:
    sent = await tenant.http.post(
        "/api/documents",
        files={"file": ("broken.pdf", b"%PDF-1.7\nnothing of a PDF")},
        params={"wait": "searchable"},
    )

    assert sent.status_code == 422, sent.text
    assert sent.headers["content-type"] == "application/problem+json"
    assert sent.json()["advice"]
    job = await tenant.http.get(sent.headers["location"])
    assert job.json()["error"]["code"] == sent.json()["code"]


async def test_waiting_ends_after_the_time_that_was_asked_for(tenant: Tenant) -> None:
    sent = await tenant.http.post(
        "/api/documents",
        json={"title": "Long", "content": "\n\n".join(f"Paragraph {n} of many." * 20 for n in range(30))},
        params={"wait": "searchable", "timeout_seconds": "0"},
    )

    assert sent.status_code == 202
    await tenant.succeeded(UUID(sent.json()["job_id"]))


async def test_the_client_waits_for_a_document_too(tenant: Tenant) -> None:
    accepted = await tenant.client.put_document("a", content="The tide table hangs outside.", wait_seconds=60)

    job = await tenant.client.get_job(accepted.job_id)
    assert job.state == "succeeded"
    assert (await tenant.search("tide table")).results[0].document_id == accepted.document_id


async def test_parallel_uploads_under_one_idempotency_key_make_one_document(tenant: Tenant) -> None:
    async def send() -> tuple[int, bytes]:
        answer = await tenant.http.post(
            "/api/documents",
            json={"title": "Once", "content": "Sent twenty times."},
            headers={"Idempotency-Key": "the-same"},
        )
        return answer.status_code, answer.content

    answers = await asyncio.gather(*(send() for _ in range(20)))

    assert answers == [answers[0]] * 20
    assert answers[0][0] == 202
    assert len((await tenant.client.list_documents()).documents) == 1
    assert len((await tenant.client.list_jobs()).jobs) == 1
    other = await tenant.http.post(
        "/api/documents", json={"title": "Other"}, headers={"Idempotency-Key": "the-same"}
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_unchanged_content_is_a_no_op(tenant: Tenant) -> None:
    first = await tenant.put("a", "The same words.")

    again = await tenant.http.put("/api/documents/by-external-id/a", json={"content": "The same words."})

    assert again.status_code == 200
    assert again.json() == {
        "document_id": str(first.document_id),
        "job_id": str(first.id),
        "version": 1,
        "unchanged": True,
        "revision": 1,
    }


async def test_a_taken_external_id_is_a_conflict(tenant: Tenant) -> None:
    await tenant.put("a", "Here first.")

    second = await tenant.http.post("/api/documents", json={"external_id": "a", "content": "Too late."})

    assert (second.status_code, second.json()["code"]) == (409, "external_id_taken")
