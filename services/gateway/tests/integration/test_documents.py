import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quarry_common.contracts.jobs import JobState
from quarry_common.errors import ConflictError
from quarry_common.ids import new_id


async def test_a_document_as_json_is_accepted_with_its_content_as_a_blob(
    client, backend, blob_folder
) -> None:
    answer = await client.post(
        "/api/documents",
        json={
            "title": "Lease", "content": "Six months notice.", "doc_type": "markdown", "tags": ["legal"],
            "metadata": {"year": 2024, "open": True, "parties": ["Acme", None]}, "source_url": "https://a.example/x",
            "allowed_principals": ["group:legal"], "external_id": "lease-1",
        },
        headers={"Idempotency-Key": "abc"},
    )  # fmt: skip

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['job_id']}"
    (accept,) = backend.accepted
    assert accept.tenant_id == backend.acme.id
    assert accept.idempotency_key == "abc"
    assert accept.document.metadata == {"year": 2024, "open": True, "parties": ["Acme", None]}
    assert accept.document.allowed_principals == ["group:legal"]
    assert accept.blob.declared_type == "text/markdown"
    assert accept.blob.path.startswith(f"tenants/{backend.acme.id}/uploads/")
    assert (blob_folder / accept.blob.path).read_text() == "Six months notice."


@pytest.mark.parametrize("file_first", [True, False])
async def test_a_file_may_come_before_or_after_its_fields(client, backend, blob_folder, file_first) -> None:
    fields = [
        ("title", (None, "Report")),
        ("tags", (None, json.dumps(["a", "b"]))),
        ("metadata", (None, json.dumps({"year": 1999}))),
    ]
    file = [("file", ("..\\dir/re\u202eport.pdf", b"%PDF-1.7 body", "application/pdf"))]

    answer = await client.post("/api/documents", files=file + fields if file_first else fields + file)

    assert answer.status_code == 202, answer.text
    (accept,) = backend.accepted
    assert (accept.document.title, accept.document.tags) == ("Report", ["a", "b"])
    assert accept.document.metadata == {"year": 1999}
    assert (accept.blob.file_name, accept.blob.declared_type) == ("report.pdf", "application/pdf")
    assert (blob_folder / accept.blob.path).read_bytes() == b"%PDF-1.7 body"


async def test_a_text_may_say_which_file_it_is_of(client, backend) -> None:
    named = {"content": "a,b", "file_name": "../x/table\x07.csv", "media_type": "text/csv", "doc_type": "md"}

    by_json = await client.post("/api/documents", json=named)
    by_form = await client.post("/api/documents", files={"file": ("table.csv", b"a,b", "text/csv")})
    both = await client.post(
        "/api/documents", data={"file_name": "x", "media_type": "y", "content": "z"}, files={"file": b"a"}
    )

    assert (by_json.status_code, by_form.status_code) == (202, 202)
    first, second = (accept.blob for accept in backend.accepted)
    assert (first.file_name, first.declared_type, first.sha256) == ("table.csv", "text/csv", second.sha256)
    assert (second.file_name, second.declared_type) == ("table.csv", "text/csv")
    assert {error["field"] for error in both.json()["errors"]} == {"file_name", "media_type", "content"}


async def test_a_title_alone_is_a_document_and_nothing_at_all_is_none(client, backend) -> None:
    titled = await client.post("/api/documents", json={"title": "Only a title"})
    nothing = await client.post("/api/documents", json={"tags": ["x"], "content": "  \n"})

    assert titled.status_code == 202
    assert backend.accepted[0].blob is None
    assert nothing.status_code == 422
    assert nothing.json()["errors"][0]["field"] == "content"


async def test_waiting_answers_the_job_when_it_is_searchable(client, backend) -> None:
    answer = await client.post("/api/documents?wait=searchable&timeout_seconds=10", json={"title": "x"})

    assert answer.status_code == 200
    assert answer.json()["state"] == "succeeded"


async def test_waiting_for_a_job_that_fails_answers_its_error_as_a_problem(client, backend) -> None:
    backend.job_outcome = JobState.FAILED

    answer = await client.post("/api/documents?wait=searchable", json={"title": "x"})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "encrypted_file"
    assert answer.headers["location"].startswith("/api/jobs/")


async def test_waiting_for_a_cancelled_job_is_a_conflict(client, backend) -> None:
    backend.job_outcome = JobState.CANCELLED

    answer = await client.post("/api/documents?wait=searchable", json={"title": "x"})

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_waiting_longer_than_allowed_answers_that_it_is_accepted(client, backend) -> None:
    backend.job_outcome = None

    answer = await client.post("/api/documents?wait=searchable&timeout_seconds=0.2", json={"title": "x"})

    assert answer.status_code == 202
    assert set(answer.json()) == {"document_id", "job_id", "version", "unchanged", "revision"}


async def test_an_upsert_is_202_and_with_unchanged_content_200(client, backend) -> None:
    path = "/api/documents/by-external-id/a%2Fb//c d/?collection=contracts"

    first = await client.put(path, json={"content": "same"})
    second = await client.put(path, json={"content": "same"})

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["unchanged"] is True
    assert backend.accepted[0].upsert is True
    assert backend.accepted[0].document.external_id == "a/b//c d/"
    assert backend.accepted[0].document.collection == "contracts"
    assert first.json()["document_id"] == second.json()["document_id"]


async def test_an_upsert_whose_body_names_another_document_is_refused(client, backend, stored) -> None:
    before = stored()

    answer = await client.put(
        "/api/documents/by-external-id/one?collection=a",
        json={"content": "x", "external_id": "two", "collection": "b"},
    )

    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"external_id", "collection"}
    assert stored() == before


async def test_a_document_is_read_listed_and_deleted(client, backend) -> None:
    made = (await client.post("/api/documents", json={"title": "x"})).json()["document_id"]

    assert (await client.get(f"/api/documents/{made}")).json()["title"] == "x"
    assert [item["id"] for item in (await client.get("/api/documents?limit=1")).json()["documents"]] == [made]
    assert (await client.delete(f"/api/documents/{made}")).json() == {"document_id": made}
    assert (await client.get(f"/api/documents/{made}")).status_code == 404


async def test_another_tenants_ids_are_not_found(client, backend) -> None:
    made = (await client.post("/api/documents", json={"title": "x"})).json()
    client.headers["X-API-Key"] = backend.key(tenant=backend.other)

    for path in (f"/api/documents/{made['document_id']}", f"/api/jobs/{made['job_id']}"):
        assert (await client.get(path)).status_code == 404


async def test_a_job_is_readable_at_once_and_listed(client, backend) -> None:
    backend.job_outcome = None
    job_id = (await client.post("/api/documents", json={"title": "x"})).json()["job_id"]

    assert (await client.get(f"/api/jobs/{job_id}")).json()["state"] == "queued"
    assert [job["id"] for job in (await client.get("/api/jobs?state=queued")).json()["jobs"]] == [job_id]
    assert (await client.get(f"/api/jobs/{new_id()}")).status_code == 404


async def test_a_refused_acceptance_leaves_no_blob(client, backend, stored) -> None:
    before = stored()
    backend.refuse_accept = ConflictError("The external id is taken.")

    answer = await client.post("/api/documents", files={"file": ("a.txt", b"text")})

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert stored() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf of a fi", 400),
        (b"no boundary at all", 400),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--", 400),
        (b"--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n\xff\xfe\r\n--b--", 422),
        (b"--b\r\nContent-Disposition: form-data; name=\"tags\"\r\n\r\n[1\r\n--b--", 422),
        (b"--b\r\nContent-Disposition: form-data; name=\"nope\"\r\n\r\nx\r\n--b--", 422),
        (b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n" * 2 + b"--b--", 422),
        (b"--b\r\n" + b"X-Long: " + b"a" * 20_000 + b"\r\n\r\nx\r\n--b--", 413),
        (b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n" * 30 + b"--b--", 413),
    ],
)  # fmt: skip
async def test_a_malformed_form_is_a_problem_and_leaves_no_blob(
    client, backend, stored, body, status
) -> None:
    before = stored()

    answer = await client.post(
        "/api/documents", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored() == before
    assert backend.accepted == []


async def test_what_follows_the_end_of_a_form_is_ignored(client, backend) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ntext\r\n--b--'
        yield b"\r\n"

    answer = await client.post(
        "/api/documents", content=body(), headers={"Content-Type": 'multipart/form-data; boundary="b"'}
    )

    assert answer.status_code == 202, answer.text


async def test_a_client_that_goes_away_leaves_no_blob(client, backend, stored) -> None:
    before = stored()
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        for _ in range(200):
            yield b"x" * 65_536
        begun.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(
        client.post(
            "/api/documents", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
    )
    await asyncio.wait_for(begun.wait(), 10)
    sending.cancel()
    await asyncio.wait([sending])

    async with asyncio.timeout(10):
        while stored() != before:
            await asyncio.sleep(0.02)
    assert backend.accepted == []


async def test_a_body_that_stops_coming_is_given_up(client, backend, stored) -> None:
    before = stored()
    url = client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)

    writer.write(
        b"POST /api/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n"
        b"X-API-Key: " + client.headers["X-API-Key"].encode() + b"\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nxxx'
    )
    status = await asyncio.wait_for(reader.readline(), 10)
    writer.close()

    assert status.startswith(b"HTTP/1.1 408 ")
    assert stored() == before


async def test_a_body_beyond_the_limit_is_refused(client, backend, stored) -> None:
    before = stored()

    too_long = await client.post("/api/documents", json={"content": "x" * (3 << 20)})

    assert (too_long.status_code, too_long.json()["code"]) == (413, "payload_too_large")
    assert stored() == before


async def test_a_file_beyond_the_limit_is_refused_and_leaves_nothing(client, backend, stored) -> None:
    before = stored()

    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        for _ in range(152):
            yield b"x" * (1 << 20)
        yield b"\r\n--b--"

    answer = await client.post(
        "/api/documents", content=body(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert stored() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "", "multipart/form-data", "application/json; charset=utf-16"]
)
async def test_another_type_of_body_is_refused(client, kind: str) -> None:
    answer = await client.post("/api/documents", content=b"{}", headers={"Content-Type": kind})

    assert answer.status_code in {400, 415}
    assert answer.json()["advice"]


async def test_every_wrong_field_is_named(client) -> None:
    body: dict[str, Any] = {
        "title": 7, "tags": ["ok", "", 3], "metadata": {"big": 1 << 70}, "collection": "No Such!",
        "titel": "x", "source_url": "u" * 3000,
    }  # fmt: skip

    answer = await client.post("/api/documents?wait=maybe", json=body)
    query_errors = {error["field"] for error in answer.json()["errors"]}
    answer = await client.post("/api/documents", json=body)
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}

    assert query_errors == {"wait"}
    assert set(errors) >= {"title", "tags[1]", "tags[2]", "collection", "titel", "source_url"}
    assert errors["title"] == "must be a string, not an integer"
    assert "known are" in errors["titel"]
