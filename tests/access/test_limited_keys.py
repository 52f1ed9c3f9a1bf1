"""Keys that are bound to networks or collections."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.platform import Platform, Tenant


async def made(tenant: Tenant, **bounds: object) -> str:
    answer = await tenant.http.post("/api/keys", json={"name": "limited", "role": "editor", **bounds})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


@pytest.mark.parametrize(
    ("networks", "status"),
    [(["127.0.0.0/8"], 200), (["203.0.113.0/24", "127.0.0.1"], 200), (["203.0.113.0/24", "::1/128"], 403)],
)
async def test_a_key_is_used_from_its_networks_alone(
    platform: Platform, tenant: Tenant, networks: list[str], status: int
) -> None:
    async with platform.http(await made(tenant, networks=networks)) as client:
        answers = [
            await client.get("/api/collections", headers=headers)
            for headers in ({}, {"X-Forwarded-For": "203.0.113.7"}, {"Forwarded": "for=203.0.113.7"})
        ]

    assert {answer.status_code for answer in answers} == {status}


@pytest.fixture
async def limited(platform: Platform, tenant: Tenant) -> AsyncIterator[httpx.AsyncClient]:
    """A client with everything, but for one collection of two."""
    for name in ("open", "closed"):
        await tenant.client.create_collection(name)
        await tenant.put(f"{name}/1", f"The {name} heron.", collection=name)
    async with platform.http(await made(tenant, collections=["open"])) as client:
        yield client


async def test_a_limited_key_works_within_its_collections(limited: httpx.AsyncClient) -> None:
    listed = (await limited.get("/api/documents")).json()["documents"]
    found = (await limited.post("/api/search", json={"query": "heron", "mode": "keyword"})).json()
    collections = (await limited.get("/api/collections")).json()["collections"]

    assert [document["external_id"] for document in listed] == ["open/1"]
    assert [result["external_id"] for result in found["results"]] == ["open/1"]
    assert [each["name"] for each in collections] == ["open"]
    assert (await limited.get(f"/api/documents/{listed[0]['id']}")).status_code == 200
    assert (
        await limited.post("/api/documents", json={"title": "x", "collection": "open"})
    ).status_code == 202


async def test_a_limited_key_reaches_nothing_else(limited: httpx.AsyncClient, tenant: Tenant) -> None:
    (job,) = (await tenant.client.list_jobs(collection="closed")).jobs
    address, by_id = f"/api/documents/{job.document_id}", {"job_ids": [str(job.id)]}

    answers = {
        "read": await limited.get(address),
        "content": await limited.get(f"{address}/content"),
        "chunks": await limited.get(f"{address}/chunks"),
        "change": await limited.patch(address, json={"tags": ["mine"]}),
        "delete": await limited.delete(address),
        "job": await limited.get(f"/api/jobs/{job.id}"),
        "follow": await limited.get(f"/api/jobs/{job.id}/events"),
        "cancel": await limited.post(f"/api/jobs/{job.id}/cancel"),
        "retry": await limited.post(f"/api/jobs/{job.id}/retry"),
        "wait": await limited.post("/api/search", json={"query": "x", "wait_for": [str(job.id)]}),
    }
    forbidden = {
        "list": await limited.get("/api/documents", params={"collection": "closed"}),
        "jobs": await limited.get("/api/jobs", params={"collection": "closed"}),
        "own id": await limited.get(
            "/api/documents/by-external-id/closed/1", params={"collection": "closed"}
        ),
        "add": await limited.post("/api/documents", json={"title": "x", "collection": "closed"}),
        "default": await limited.post("/api/documents", json={"title": "x"}),
        "make": await limited.post("/api/collections", json={"name": "another"}),
        "drop": await limited.delete("/api/collections/closed"),
        "reindex": await limited.post("/api/documents/reindex", json={"collection": "closed"}),
        "key": await limited.post("/api/keys", json={"name": "more", "role": "reader"}),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 404)
    assert {name: answer.status_code for name, answer in forbidden.items()} == dict.fromkeys(forbidden, 403)
    assert not any("closed heron" in answer.text for answer in (*answers.values(), *forbidden.values()))
    assert (await limited.post("/api/jobs/cancel", json=by_id)).json()["jobs"] == 0
    assert (await tenant.client.get_document(job.document_id)).status == "searchable"
    batch = [{"title": "in", "collection": "open"}, {"title": "out", "collection": "closed"}]
    results = (await limited.post("/api/documents/batch", json={"documents": batch})).json()["results"]
    assert [result["status"] for result in results] == ["accepted", "rejected"]
    assert results[1]["error"]["status"] == 403


async def test_no_filter_opens_a_closed_collection(limited: httpx.AsyncClient) -> None:
    for filters in ({"collection": "closed"}, {"or": [{"collection": "closed"}, {"collection": "open"}]}):
        body = {"query": "heron", "mode": "keyword", "filters": filters, "facets": ["collection"]}
        told = (await limited.post("/api/search", json=body)).json()
        assert {result["external_id"] for result in told["results"]} <= {"open/1"}
        assert "closed" not in {each["value"] for each in told["facets"]["collection"]}
