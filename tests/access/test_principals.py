"""A document that names who may find it is found by them, and leaves no trace with anybody else."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.platform import Platform, Tenant, until

from quarry_client.types import MODES

SECRET = "The merger with Heron Ltd closes in March."
PUBLIC = "The canteen closes at three in March."


@pytest.fixture
async def written(tenant: Tenant) -> Tenant:
    await tenant.put("public", PUBLIC, title="canteen", tags=["public"], metadata={"topic": "food"})
    await tenant.put(
        "secret",
        SECRET,
        title="merger",
        tags=["secret"],
        metadata={"topic": "heron"},
        allowed_principals=["group:board", "user:ada"],
    )
    return tenant


@pytest.fixture
async def reader(platform: Platform, written: Tenant) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key carries a principal that the document allows."""
    body = {"name": "board", "role": "reader", "principals": ["group:board", "user:bob"]}
    made = (await written.http.post("/api/keys", json=body)).json()
    async with platform.http(made["key"]) as client:
        yield client


@pytest.fixture
async def stranger(platform: Platform, written: Tenant) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key carries another principal."""
    body = {"name": "staff", "role": "reader", "principals": ["group:staff", "group", "board", "user:*"]}
    made = (await written.http.post("/api/keys", json=body)).json()
    async with platform.http(made["key"]) as client:
        yield client


def search(mode: str) -> dict[str, object]:
    return {
        "query": "March Heron merger",
        "mode": mode,
        "facets": ["tags", "external_id", "metadata.topic"],
        "explain": True,
        "highlight": True,
        "limit": 50,
    }


async def found(client: httpx.AsyncClient, mode: str) -> httpx.Response:
    answer = await client.post("/api/search", json=search(mode))
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("mode", MODES)
async def test_its_readers_find_it(reader: httpx.AsyncClient, mode: str) -> None:
    told = (await found(reader, mode)).json()

    # Both texts have words of the query, so that each mode finds both.
    assert {result["external_id"] for result in told["results"]} == {"public", "secret"}
    assert told["total"] == 2
    assert {"value": "secret", "count": 1} in told["facets"]["tags"]
    assert {"value": "public", "count": 1} in told["facets"]["tags"]


@pytest.mark.parametrize("mode", MODES)
async def test_nobody_else_learns_that_it_is_there(
    written: Tenant, reader: httpx.AsyncClient, stranger: httpx.AsyncClient, mode: str
) -> None:
    # A reader asks first, so that his answer is the one that is cached.
    for explain in (True, False):
        body = search(mode) | {"explain": explain}
        assert "secret" in (await reader.post("/api/search", json=body)).text

    for client in (stranger, written.http):
        for explain in (True, False):
            answer = await client.post("/api/search", json=search(mode) | {"explain": explain})
            told = answer.json()
            assert [result["external_id"] for result in told["results"]] == ["public"]
            assert told["total"] == 1
            assert told["facets"]["tags"] == [{"value": "public", "count": 1}]
            assert told["facets"]["metadata.topic"] == [{"value": "food", "count": 1}]
            rest = {name: value for name, value in told.items() if name not in {"query", "explanation"}}
            assert "secret" not in json.dumps(rest)
            assert "eron" not in json.dumps(rest)
            assert "group:board" not in answer.text


async def test_readers_of_different_documents_do_not_share_cached_answers(
    reader: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    async def cached() -> httpx.Response | None:
        # What is explained is computed each time.
        answer = await reader.post("/api/search", json=search("keyword") | {"explain": False})
        return answer if answer.json()["cache"] == "hit" else None

    again = await until(cached, 20, "the reader's answer comes from the cache")
    other = await stranger.post("/api/search", json=search("keyword") | {"explain": False})

    assert len(again.json()["results"]) > len(other.json()["results"])


async def test_a_filter_cannot_ask_for_it(stranger: httpx.AsyncClient) -> None:
    for filters in (
        {"external_id": "secret"},
        {"tags": {"any": ["secret"]}},
        {"or": [{"tags": {"any": ["secret"]}}, {"not": {"tags": {"any": ["nothing"]}}}]},
        {"not": {"external_id": "public"}},
    ):
        body = {"query": "Heron merger", "filters": filters, "facets": ["tags"]}
        told = (await stranger.post("/api/search", json=body)).json()
        assert "secret" not in {result["external_id"] for result in told["results"]}, filters
        assert "secret" not in json.dumps(told["facets"]), filters
