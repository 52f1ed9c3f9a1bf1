"""What operators and probes see of a platform that is well, and of one that lacks something."""

import signal

import httpx
import pytest
from tests.platform import Platform, Tenant, until

from quarry_common.telemetry.metrics import CONTENT_TYPE

SERVICES = ("gateway", "indexer", "search", "tenants", "webhooks")
CHECKS = {"database", "cache", "vector_index", "message_bus", "webhooks"}


async def health(http: httpx.AsyncClient) -> tuple[int, str, dict[str, str]]:
    answer = await http.get("/api/health")
    body = answer.json()
    return (
        answer.status_code,
        body["status"],
        {name: check["status"] for name, check in body["checks"].items()},
    )


async def test_health_lists_every_dependency(platform: Platform) -> None:
    async with httpx.AsyncClient(base_url=platform.url, trust_env=False) as anybody:

        async def healthy() -> bool:
            return await health(anybody) == (200, "healthy", dict.fromkeys(CHECKS, "healthy"))

        await until(healthy, 20, "every check is healthy")
        body = (await anybody.get("/api/health")).json()
        assert all(check["latency_ms"] >= 0 for check in body["checks"].values())
        assert body["version"] == (await anybody.get("/api/version")).json()["version"]


@pytest.mark.parametrize(("server", "check"), [("redis", "cache"), ("vector-engine", "vector_index")])
async def test_a_frozen_dependency_degrades_and_recovers(
    server: str, check: str, platform: Platform, tenant: Tenant
) -> None:
    frozen = platform.process(server)
    frozen.send_signal(signal.SIGSTOP)
    try:

        async def degraded() -> bool:
            status, word, checks = await health(tenant.http)
            return (status, word, checks[check]) == (200, "degraded", "unhealthy")

        await until(degraded, 15, f"{check} is told to be unhealthy")
        # What does not need it goes on.
        assert (await tenant.http.get("/api/documents")).status_code == 200
    finally:
        frozen.send_signal(signal.SIGCONT)

    async def healthy() -> bool:
        return (await health(tenant.http))[:2] == (200, "healthy")

    await until(healthy, 20, "the platform is healthy again")


@pytest.mark.parametrize("service", SERVICES)
async def test_each_process_answers_probes_and_metrics(service: str, platform: Platform) -> None:
    async with httpx.AsyncClient(base_url=platform.ops_url(service), trust_env=False) as ops:
        live = await ops.get("/livez")
        assert (live.status_code, live.json()) == (200, {"status": "alive"})

        async def ready() -> bool:
            return (await ops.get("/readyz")).status_code == 200

        await until(ready, 20, f"{service} is ready")
        checks = (await ops.get("/readyz")).json()["checks"]
        assert checks
        assert all(check["ok"] for check in checks.values())
        metrics = await ops.get("/metrics")
        assert metrics.headers["content-type"] == CONTENT_TYPE
        assert f'service="{service}"' in metrics.text
        assert "process_resident_memory_bytes" in metrics.text


async def test_requests_and_searches_are_counted(platform: Platform, tenant: Tenant) -> None:
    await tenant.search("anything")
    async with httpx.AsyncClient(trust_env=False) as ops:
        gateway = (await ops.get(f"{platform.ops_url('gateway')}/metrics")).text
        search = (await ops.get(f"{platform.ops_url('search')}/metrics")).text
    assert 'http_requests_total{method="POST",route="/api/search",status="200"}' in gateway
    assert 'http_request_duration_seconds_bucket{le="0.001",method="POST",route="/api/search"}' in gateway
    assert 'search_duration_seconds_count{mode="hybrid"}' in search
