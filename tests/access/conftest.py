"""Two gateways before one platform: what one counts or forgets, the other has to know."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import pytest
from tests.platform import Platform, Tenant

from quarry_local.ports import free_port
from quarry_local.servers.wire import http_ready
from quarry_local.testing import running


@dataclass(frozen=True)
class Gateways:
    """The addresses of both."""

    urls: tuple[str, str]

    @asynccontextmanager
    async def clients(self, key: str) -> AsyncIterator[list[httpx.AsyncClient]]:
        """Yield a client of each gateway that sends `key` and shows answers as they are."""
        limits = httpx.Limits(max_connections=200)
        first, second = (
            httpx.AsyncClient(
                base_url=url, headers={"X-API-Key": key}, timeout=60, trust_env=False, limits=limits
            )
            for url in self.urls
        )
        async with first, second:
            yield [first, second]


@pytest.fixture(scope="session")
def gateways(platform: Platform) -> Iterator[Gateways]:
    """Yield two gateways: the platform's own and one more."""
    http_port, ops_port = free_port(), free_port()
    usual = platform.program("gateway")
    url = f"http://127.0.0.1:{http_port}"
    program = replace(
        usual,
        name="gateway-2",
        port=ops_port,
        environ={**usual.environ, "OPS_PORT": str(ops_port), "HTTP_PORT": str(http_port)},
        ready=lambda: http_ready(f"{url}/readyz"),
    )
    with running(program, platform.layout.log("gateway-2")):
        yield Gateways((platform.url, url))


@pytest.fixture
async def operator(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with the operator's key."""
    async with platform.http(platform.operator_key) as client:
        yield client


async def limit(operator: httpx.AsyncClient, tenant: Tenant, **quotas: int | None) -> None:
    """Give a tenant quotas; both gateways know them when it returns or a few seconds later."""
    answer = await operator.patch(f"/api/admin/tenants/{tenant.slug}", json={"quotas": quotas})
    assert answer.status_code == 200, answer.text
