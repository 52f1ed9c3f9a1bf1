"""What a search may ask for beside words, as callers send it."""

import asyncio

import pytest

from quarry_common.contracts.filters import Field
from quarry_common.contracts.jobs import JobState
from quarry_common.contracts.search import Facet, Sort, SortField
from quarry_common.ids import new_id


async def accepted(client) -> str:
    return (await client.post("/api/documents", json={"title": "x"})).json()["job_id"]


async def test_every_option_reaches_the_search_service(client, backend) -> None:
    body = {
        "query": '"notice period" flat',
        "facets": ["tags", "metadata.author", "tags"],
        "facet_limit": 3,
        "sort": "-created_at",
        "min_score": 0.25,
        "explain": True,
        "rerank": False,
    }

    answer = await client.post("/api/search", json=body)

    assert answer.status_code == 200, answer.text
    (asked,) = backend.queries
    assert asked.facets == [Facet(Field.TAGS), Facet(Field.METADATA, "author")]
    assert (asked.facet_limit, asked.min_score, asked.explain, asked.rerank) == (3, 0.25, True, False)
    assert asked.sort == Sort(SortField.CREATED_AT, descending=True)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"facets": ["color"]}, "facets[0]"),
        ({"facets": ["tags", "metadata."]}, "facets[1]"),
        ({"facets": ["created_at"]}, "facets[0]"),
        ({"sort": "size"}, "sort"),
        ({"facet_limit": 0}, "facet_limit"),
        ({"min_score": "high"}, "min_score"),
        ({"wait_for": ["x"]}, "wait_for[0]"),
        ({"wait_seconds": 61}, "wait_seconds"),
        ({"filters": {"nope": 1}}, "filters.nope"),
        ({"filters": {"nope": 1}, "facets": [3, "color"]}, "facets[0]"),
    ],
)
async def test_a_wrong_option_is_named(client, backend, wrong, field) -> None:
    answer = await client.post("/api/search", json={"query": "x", **wrong})
    batch = await client.post(
        "/api/search/batch", json={"queries": [{"query": "x"}, {"query": "x", **wrong}]}
    )

    assert answer.status_code == batch.status_code == 422, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert f"queries[1].{field}" in [error["field"] for error in batch.json()["errors"]]
    assert backend.queries == []


async def test_the_searches_of_a_batch_have_their_own_outcomes(client) -> None:
    queries = [{"query": "one"}, {"query": "fail"}, {"query": "three", "mode": "keyword"}]

    answer = await client.post("/api/search/batch", json={"queries": queries})

    assert answer.status_code == 200, answer.text
    first, second, third = answer.json()["results"]
    assert (first["answer"]["query"], third["answer"]["mode"]) == ("one", "keyword")
    assert second == {"error": second["error"]}
    assert (second["error"]["code"], second["error"]["status"]) == ("not_found", 404)


@pytest.mark.parametrize("count", [0, 51])
async def test_a_batch_has_one_to_fifty_searches(client, count) -> None:
    answer = await client.post("/api/search/batch", json={"queries": [{"query": "x"}] * count})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "queries"


async def test_a_search_waits_for_the_writes_it_must_see(client, backend) -> None:
    backend.job_outcome = None
    job_id = await accepted(client)
    asking = asyncio.create_task(client.post("/api/search", json={"query": "x", "wait_for": [job_id]}))
    async with asyncio.timeout(10):
        while not backend.job_reads:
            await asyncio.sleep(0.01)
    assert backend.queries == []

    backend.job_outcome = JobState.SUCCEEDED

    assert (await asking).status_code == 200
    assert len(backend.queries) == 1


async def test_it_does_not_wait_for_ever(client, backend) -> None:
    backend.job_outcome = None
    body = {"query": "x", "wait_for": [await accepted(client)], "wait_seconds": 0.1}

    answer = await client.post("/api/search", json=body)

    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert answer.headers["retry-after"]
    assert backend.queries == []


async def test_a_batch_waits_for_no_more_jobs_than_a_search(client, backend) -> None:
    queries = [{"query": "x", "wait_for": [str(new_id()) for _ in range(51)]} for _ in range(2)]

    answer = await client.post("/api/search/batch", json={"queries": queries})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["queries"]
    assert "at most 100" in answer.json()["errors"][0]["message"]
    assert backend.queries == []


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_a_write_that_will_never_be_seen_is_told(client, backend, state) -> None:
    backend.job_outcome = state
    body = {"query": "x", "wait_for": [await accepted(client)]}

    answer = await client.post("/api/search", json=body)

    assert (answer.status_code, answer.json()["code"]) == (409, "write_failed")


async def test_a_job_that_there_is_not_cannot_be_waited_for(client) -> None:
    answer = await client.post("/api/search", json={"query": "x", "wait_for": [str(new_id())]})

    assert answer.status_code == 404
