"""Jobs and dead letters: listed, read, cancelled, tried again, discarded; the index, for operators."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from quarry_common.contracts.documents import InspectIndex
from quarry_common.contracts.jobs import (
    ChangeJob,
    ChangeJobs,
    JobFilter,
    JobState,
    ListDeadLetters,
    ListJobs,
)
from quarry_common.contracts.tenancy import Scope

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHOICE: dict[str, object] = {
    "document_id": str(UUID(int=5)), "collection": "law", "code": "encrypted_file",
    "created_after": "2026-01-31T12:00:00Z", "created_before": "2026-01-31T13:00:00+01:00",
}  # fmt: skip
CHOSEN = JobFilter(None, UUID(int=5), "law", "encrypted_file", MOMENT, MOMENT)


async def job_of(client: httpx.AsyncClient) -> str:
    return str((await client.post("/api/documents", json={"title": "x"})).json()["job_id"])


async def failed_job_of(client: httpx.AsyncClient, backend) -> str:  # type: ignore[no-untyped-def]
    job_id = await job_of(client)
    backend.change(backend.acme.id, UUID(job_id), state=JobState.FAILED, error=backend.job_error)
    return job_id


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(("path", "kind"), [("/api/jobs", ListJobs), ("/api/dead-letters", ListDeadLetters)])
async def test_lists_are_filtered_by_what_jobs_have_in_common(client, backend, path, kind) -> None:
    answer = await client.get(path, params={**CHOICE, "limit": 3, "cursor": "c"})

    assert answer.status_code == 200, answer.text
    asked = backend.asked[-1]
    assert isinstance(asked, kind)
    assert (asked.filter, asked.limit, asked.cursor) == (CHOSEN, 3, "c")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("created_after=2026-01-31", "created_after"),
        ("created_before=2026-01-31T12:00:00", "created_before"),
        ("code=", "code"),
        ("collection=No%20Name", "collection"),
        ("document_id=7", "document_id"),
        ("job_ids=7", "job_ids"),
    ],
)
async def test_a_wrong_condition_of_a_list_is_named(client, query, field) -> None:
    for path in ("/api/jobs", "/api/dead-letters"):
        assert field in errors_of(await client.get(f"{path}?{query}"))


async def test_a_job_is_read_with_its_place_in_the_queue_and_its_log(client, backend) -> None:
    backend.job_outcome = None

    job = (await client.get(f"/api/jobs/{await job_of(client)}")).json()

    assert (job["queue_position"], job["log"][0]["message"]) == (3, "It was queued.")
    waited = await client.post("/api/documents?wait=searchable&timeout_seconds=0", json={"title": "x"})
    assert "log" not in waited.json()


async def test_a_job_is_cancelled_and_tried_again(client, backend) -> None:
    backend.job_outcome = None
    job_id = await job_of(client)

    too_early = await client.post(f"/api/jobs/{job_id}/retry")
    cancelled = await client.post(f"/api/jobs/{job_id}/cancel", headers={"Idempotency-Key": "a"})
    retried = await client.post(f"/api/jobs/{job_id}/retry")

    assert (too_early.status_code, too_early.json()["code"]) == (409, "conflict")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (retried.status_code, retried.json()["state"]) == (200, "queued")
    changes = [asked for asked in backend.asked if isinstance(asked, ChangeJob)]
    assert changes[1] == ChangeJob(backend.acme.id, UUID(job_id), "a")
    for verb in ("cancel", "retry"):
        assert (await client.post(f"/api/jobs/{uuid4()}/{verb}")).status_code == 404
        assert "job_id" in errors_of(await client.post(f"/api/jobs/7/{verb}"))


MANY = ["/api/jobs/cancel", "/api/dead-letters/replay", "/api/dead-letters/discard"]


@pytest.mark.parametrize("path", MANY)
async def test_many_jobs_are_chosen_by_ids_or_by_what_they_have_in_common(client, backend, path) -> None:
    ids = [uuid4(), uuid4()]

    by_ids = await client.post(path, json={"job_ids": [str(each) for each in ids]})
    by_rest = await client.post(path, json=CHOICE, headers={"Idempotency-Key": "k"})

    assert (by_ids.status_code, by_ids.json()) == (200, {"jobs": 0, "more": False})
    assert by_rest.status_code == 200
    changes = [asked for asked in backend.asked if isinstance(asked, ChangeJobs)]
    assert changes == [
        ChangeJobs(backend.acme.id, JobFilter(ids)), ChangeJobs(backend.acme.id, CHOSEN, "k"),
    ]  # fmt: skip


@pytest.mark.parametrize("path", MANY)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "job_ids"),
        ({"job_ids": []}, "job_ids"),
        ({"job_ids": None}, "job_ids"),
        ({"state": "failed"}, "state"),
        ({"job_ids": [str(uuid4())] * 1001}, "job_ids"),
        ({"code": ""}, "code"),
        ({"created_after": "2026-01-31T12:00:00"}, "created_after"),
    ],
)
async def test_a_choice_of_nothing_or_nonsense_changes_no_job(client, backend, path, body, field) -> None:
    assert field in errors_of(await client.post(path, json=body))
    assert not any(isinstance(asked, ChangeJobs) for asked in backend.asked)


async def test_only_of_dead_letters_all_may_be_meant_and_then_nothing_else(client, backend) -> None:
    everything = await client.post("/api/dead-letters/discard", json={"all": True})

    assert everything.status_code == 200
    assert backend.asked[-1].filter == JobFilter()
    for body in ({"all": True, "code": "x"}, {"all": True, "job_ids": [str(uuid4())]}):
        assert "all" in errors_of(await client.post("/api/dead-letters/replay", json=body))
    assert "job_ids" in errors_of(await client.post("/api/dead-letters/replay", json={"all": False}))
    assert "all" in errors_of(await client.post("/api/jobs/cancel", json={"all": True}))


async def test_a_dead_letter_is_read_with_its_log(client, backend) -> None:
    dead, alive = await failed_job_of(client, backend), await job_of(client)

    assert [job["id"] for job in (await client.get("/api/dead-letters")).json()["jobs"]] == [dead]
    found = (await client.get(f"/api/dead-letters/{dead}")).json()
    assert (found["error"]["code"], found["log"][0]["attempt"]) == ("encrypted_file", 1)
    for job_id in (alive, uuid4()):
        answer = await client.get(f"/api/dead-letters/{job_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    client.headers["X-API-Key"] = backend.key(tenant=backend.other)
    assert (await client.get(f"/api/dead-letters/{dead}")).status_code == 404


async def test_one_dead_letter_is_replayed_or_discarded(client, backend) -> None:
    dead, alive = await failed_job_of(client, backend), await job_of(client)

    replayed = await client.post(f"/api/dead-letters/{dead}/replay", headers={"Idempotency-Key": "k"})
    assert (replayed.status_code, replayed.json()) == (200, {"jobs": 1, "more": False})
    assert backend.asked[-1] == ChangeJobs(backend.acme.id, JobFilter([UUID(dead)]), "k")
    assert (await client.delete(f"/api/dead-letters/{dead}")).json()["jobs"] == 1
    for job_id in (alive, uuid4()):
        assert (await client.post(f"/api/dead-letters/{job_id}/replay")).status_code == 404
        assert (await client.delete(f"/api/dead-letters/{job_id}")).status_code == 404


async def test_changes_need_the_scope_to_write(http, backend) -> None:
    http.headers["X-API-Key"] = backend.key(Scope.DOCUMENTS_READ)

    for path in (*MANY, f"/api/jobs/{uuid4()}/cancel", "/api/documents/reindex", "/api/documents/batch"):
        answer = await http.post(path, json={"all": True})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path


async def test_an_operator_inspects_and_mends_the_index_of_a_tenant(client, backend) -> None:
    assert (await client.get("/api/admin/index")).status_code == 403
    client.headers["X-API-Key"] = backend.key(operator=True)

    unnamed = await client.get("/api/admin/index")
    looked = await client.get("/api/admin/index", headers={"X-Tenant": "other"})
    mended = await client.post("/api/admin/index/repair", headers={"X-Tenant": "other"})

    assert "X-Tenant" in errors_of(unnamed)
    assert (looked.status_code, looked.json()["hidden"], looked.json()["repaired"]) == (200, 6, False)
    assert mended.json()["repaired"] is True
    asked = [each for each in backend.asked if isinstance(each, InspectIndex)]
    assert asked == [InspectIndex(backend.other.id), InspectIndex(backend.other.id, repair=True)]
