"""Collections, search, and what holds for every route: problems, ids, limits, health, pages."""

import asyncio
import json

import httpx
import pytest

from quarry_common.contracts.filters import AnyOf, Field
from quarry_gateway.http.server import AddressInUseError, HttpServer


async def test_collections_are_made_read_listed_and_deleted(client) -> None:
    made = await client.post("/api/collections", json={"name": "contracts"})

    assert (made.status_code, made.headers["location"]) == (201, "/api/collections/contracts")
    assert (await client.post("/api/collections", json={"name": "contracts"})).status_code == 409
    assert (await client.get("/api/collections/contracts")).json()["name"] == "contracts"
    assert len((await client.get("/api/collections")).json()["collections"]) == 1
    assert (await client.delete("/api/collections/contracts")).json() == {"name": "contracts", "documents": 0}
    assert (await client.get("/api/collections/contracts")).status_code == 404
    assert (await client.get("/api/collections/No%20Name")).status_code == 422


async def test_a_search_carries_its_options_and_its_filter(client, backend) -> None:
    body = {
        "query": "lease", "mode": "keyword", "limit": 3, "cursor": "c", "filters": {"doc_type": "pdf"},
        "group_by_document": True, "highlight": True,
    }  # fmt: skip

    answer = await client.post("/api/search", json=body)

    assert answer.json()["mode"] == "keyword"
    (query,) = backend.queries
    assert query.tenant_id == backend.acme.id
    assert query.filters == AnyOf(Field.DOC_TYPE, ("pdf",))
    assert (query.limit, query.cursor, query.group_by_document, query.highlight) == (3, "c", True, True)


async def test_a_wrong_filter_is_told_by_its_path(client) -> None:
    answer = await client.post(
        "/api/search", json={"query": "x", "filters": {"and": [{"nope": 1}], "tags": {"any": 3}}}
    )

    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {
        "filters.and[0].nope",
        "filters.tags.any",
    }


DEEP = b'{"query":"x","filters":' + b'{"not":' * 100_000 + b"1" + b"}" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        (b'{"query":"\xff"}', 400, None),
        (b'{"query":"\\ud800"}', 400, None),
        (b'{"query":NaN}', 400, None),
        (DEEP, 400, None),
        (b"[]", 422, ""),
        (b'"x"', 422, ""),
        (b'{"query":"a\\u0000b"}', 422, "query"),
        (b'{"query":""}', 422, "query"),
        (b'{"query":"x","limit":101}', 422, "limit"),
        (b'{"query":"x","limit":' + b"9" * 30 + b"}", 422, "limit"),
        (b'{"query":"x","limit":' + b"9" * 5000 + b"}", 400, None),
        (b'{"query":"x","limit":true}', 422, "limit"),
        (b'{"query":"x","mode":"magic"}', 422, "mode"),
        (b'{"query":"x","filter":{}}', 422, "filter"),
        (b'{"query":"x","filters":[]}', 422, "filters"),
        (b"{}", 422, "query"),
    ],
)
async def test_a_wrong_body_is_a_problem(client, backend, body, status, field) -> None:
    answer = await client.post("/api/search", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field is None or field in {error["field"] for error in answer.json()["errors"]}
    assert backend.queries == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/jobs?limit=0", 422), ("/api/jobs?limit=1e3", 422), ("/api/jobs?limit=", 422),
        ("/api/jobs?state=gone", 422), ("/api/jobs?document_id=7", 422), ("/api/jobs?nope=1", 422),
        ("/api/jobs?limit=1&limit=2", 422), ("/api/jobs?cursor=%ff", 400), ("/api/jobs?cursor=%00", 422),
        ("/api/jobs?cursor=" + "x" * 1001, 422), ("/api/documents/7", 422), ("/api/documents/%00", 400),
        ("/api/documents/%ff", 400), ("/api/documents/..%2f..%2fetc%2fpasswd", 404), ("/api/nothing", 404),
        ("/api/jobs?" + "&".join(f"a{i}=1" for i in range(60)), 400),
    ],
)  # fmt: skip
async def test_a_wrong_address_is_a_problem(client, path, status) -> None:
    answer = await client.get(path)

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status
    assert answer.json()["type"] == "/problems/" + answer.json()["code"]


async def test_another_method_is_refused_with_those_that_are_allowed(client) -> None:
    answer = await client.patch("/api/jobs")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


async def test_every_answer_carries_the_id_of_its_request(client) -> None:
    given = await client.get("/api/jobs", headers={"X-Request-ID": "abc-123"})
    insane = await client.get("/api/nothing", headers={"X-Request-ID": "a b\tc" + "x" * 200})

    assert given.headers["x-request-id"] == "abc-123"
    assert len(insane.headers["x-request-id"]) == 36
    assert insane.json()["request_id"] == insane.headers["x-request-id"]
    for answer in (given, insane):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "granian" not in answer.headers.get("server", "")


async def test_an_unforeseen_error_tells_nothing_of_its_inside(client, backend) -> None:
    backend.queries = None

    answer = await client.post("/api/search", json={"query": "x"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "NoneType" not in answer.text


async def test_without_an_indexer_it_is_503_with_retry_after_and_no_blob(
    http, nats_url, answer_for, idle_backend, stored
) -> None:
    before = stored()
    async with answer_for(idle_backend, nats_url, "tenants"):
        answer = await http.post(
            "/api/documents", files={"file": ("a.txt", b"x")}, headers={"X-API-Key": idle_backend.key()}
        )

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert stored() == before


async def test_without_a_tenants_service_an_unknown_key_is_503_not_401(http, idle_backend) -> None:
    answer = await http.get("/api/jobs", headers={"X-API-Key": idle_backend.key()})

    assert answer.status_code == 503


async def test_health_tells_each_dependency_and_503_when_nothing_can_be_served(
    http, nats_url, answer_for
) -> None:
    alone = await http.get("/api/health")

    assert alone.status_code == 503
    assert alone.json()["checks"]["database"]["status"] == "unhealthy"
    assert alone.json()["checks"]["message_bus"]["status"] == "healthy"


async def test_health_is_degraded_without_cache_and_index(gateway_settings, serve, backend) -> None:
    async with serve(gateway_settings) as (url, _), httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/api/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    checks = answer.json()["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "database": "healthy", "message_bus": "healthy", "cache": "unhealthy", "vector_index": "unhealthy",
        "webhooks": "healthy",
    }  # fmt: skip
    assert all(check["latency_ms"] >= 0 for check in checks.values())
    assert answer.json()["version"]
    assert answer.json()["timestamp"]


async def test_health_is_healthy_when_all_is_there(
    gateway_settings, serve, backend, redis_url, qdrant_url
) -> None:
    settings = gateway_settings.model_copy(
        update={"redis_url": type(gateway_settings.redis_url)(redis_url), "qdrant_url": qdrant_url}
    )
    async with serve(settings) as (url, _), httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/api/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


async def test_probes_pages_and_metrics_ask_for_no_key(http) -> None:
    await http.get("/api/nothing")

    assert (await http.get("/livez")).json() == {"status": "alive"}
    assert (await http.get("/readyz")).status_code == 200
    assert (await http.get("/api/version")).json()["version"]
    assert "default-src 'none'" in (await http.get("/docs")).headers["content-security-policy"]
    assert "Not found" in (await http.get("/problems/not_found")).text
    assert (await http.get("/problems/nope")).status_code == 404
    metrics = (await http.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="unmatched",status="404"}' in metrics
    assert 'http_request_duration_seconds_count{method="GET",route="/livez"}' in metrics


async def test_every_kind_of_problem_that_is_answered_has_its_page(http) -> None:
    kinds = (await http.get("/openapi.json")).json()["components"]["responses"].values()

    for kind in kinds:
        example = kind["content"]["application/problem+json"]["example"]
        assert (await http.get(example["type"])).status_code == 200


async def test_beyond_the_bound_requests_are_refused_but_probes_are_not(
    gateway_settings, serve, backend
) -> None:
    settings = gateway_settings.model_copy(update={"max_concurrent_requests": 2})
    backend.job_outcome = None
    async with serve(settings) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as client:
        client.headers["X-API-Key"] = backend.key()
        waiting = [
            asyncio.create_task(
                client.post("/api/documents?wait=searchable&timeout_seconds=20", json={"title": "x"})
            )
            for _ in range(2)
        ]
        async with asyncio.timeout(10):
            while len(backend.accepted) < 2:
                await asyncio.sleep(0.01)

        refused = await client.get("/api/jobs")
        alive = await client.get("/livez")
        backend.job_outcome = backend.job_outcome or type(next(iter(backend.jobs.values())).state).SUCCEEDED
        done = await asyncio.gather(*waiting)

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"
    assert alive.status_code == 200
    assert [answer.status_code for answer in done] == [200, 200]


async def test_a_stopping_gateway_finishes_what_it_began(gateway_settings, serve, backend) -> None:
    backend.job_outcome = None
    async with (
        serve(gateway_settings) as (url, stopping),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        client.headers["X-API-Key"] = backend.key()
        waiting = asyncio.create_task(
            client.post("/api/documents?wait=searchable&timeout_seconds=2", json={"title": "x"})
        )
        async with asyncio.timeout(10):
            while not backend.accepted:
                await asyncio.sleep(0.01)

        stopping.set()
        answer = await waiting

    assert answer.status_code == 202


async def test_a_port_in_use_is_told(gateway_url) -> None:
    async def app(*_: object) -> None:
        raise AssertionError("nobody can reach it")

    second = HttpServer(app, "127.0.0.1", int(gateway_url.rpartition(":")[2]))

    with pytest.raises(AddressInUseError, match="Address already in use"):
        await asyncio.wait_for(second.run(asyncio.Event()), 5)


async def test_the_description_is_valid_openapi(http) -> None:
    from openapi_spec_validator import validate  # noqa: PLC0415 - slow to import

    validate(json.loads((await http.get("/openapi.json")).text))


async def test_options_tell_the_methods_of_a_path_to_anybody(http) -> None:
    answer = await http.options("/api/collections")

    assert answer.status_code == 204
    assert {"GET", "POST"} <= set(answer.headers["allow"].replace(" ", "").split(","))
