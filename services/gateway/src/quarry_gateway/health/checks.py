"""What the platform needs in order to serve, as `GET /api/health` tells it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import httpx
import msgspec
from nats.aio.client import Client

from quarry_common import tls
from quarry_common.cache.connection import open_redis
from quarry_common.contracts.tenancy import LIST_TENANTS, PLATFORM_TENANT, ListTenants
from quarry_common.contracts.webhooks import LIST_ENDPOINTS, ListEndpoints
from quarry_common.errors import UnavailableError
from quarry_common.health import Check, CheckResult
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.settings import GatewaySettings

DATABASE, CACHE, VECTOR_INDEX, MESSAGE_BUS = "database", "cache", "vector_index", "message_bus"
WEBHOOKS = "webhooks"
INDISPENSABLE: Final = frozenset({DATABASE, MESSAGE_BUS})
"""Without these no request can be answered; without the others some can."""
TIMEOUT_SECONDS: Final = 1.5


class HealthStatus(StrEnum):
    """How something is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class CheckReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one dependency answered."""

    status: HealthStatus
    latency_ms: float
    detail: str = ""


class HealthReport(msgspec.Struct, frozen=True):
    """How the platform is: degraded when something is missing, unhealthy when nothing can be served."""

    status: HealthStatus
    timestamp: datetime
    version: str
    checks: dict[str, CheckReport]


def report(results: Mapping[str, CheckResult], version: str) -> HealthReport:
    """Add up the results of the checks."""
    checks = {
        name: CheckReport(
            HealthStatus.HEALTHY if result.ok else HealthStatus.UNHEALTHY,
            round(result.latency_ms, 2),
            result.detail,
        )
        for name, result in results.items()
    }
    down = {name for name, result in results.items() if not result.ok}
    status = (
        HealthStatus.UNHEALTHY
        if down & INDISPENSABLE
        else HealthStatus.DEGRADED
        if down
        else HealthStatus.HEALTHY
    )
    return HealthReport(status, datetime.now(UTC), version, checks)


@asynccontextmanager
async def open_checks(
    settings: GatewaySettings, connection: Client, rpc: RpcClient
) -> AsyncIterator[dict[str, Check]]:
    """Yield the checks of every dependency by name."""

    async def database() -> None:
        # The tenants service answers from the database that every service uses.
        await rpc.call(LIST_TENANTS, ListTenants(limit=1), timeout_seconds=TIMEOUT_SECONDS)

    async def webhooks() -> None:
        # Of a tenant that there is not: answered from the index alone.
        await rpc.call(LIST_ENDPOINTS, ListEndpoints(PLATFORM_TENANT, 1), timeout_seconds=TIMEOUT_SECONDS)

    async def message_bus() -> None:
        await broker.check(connection)

    redis = open_redis(settings, timeout_seconds=TIMEOUT_SECONDS, connections=2)

    async def cache() -> None:
        try:
            await redis.ping()
        except Exception as error:
            raise UnavailableError("The cache does not answer.") from error

    key = settings.qdrant_api_key.get_secret_value()
    async with httpx.AsyncClient(
        base_url=settings.qdrant_url,
        headers={"api-key": key} if key else {},
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        verify=tls.context(settings.qdrant_ca_file),
    ) as http:

        async def vector_index() -> None:
            try:
                (await http.get("/readyz")).raise_for_status()
            except httpx.HTTPError as error:
                raise UnavailableError("The vector index does not answer.") from error

        try:
            yield {
                DATABASE: database,
                CACHE: cache,
                VECTOR_INDEX: vector_index,
                MESSAGE_BUS: message_bus,
                WEBHOOKS: webhooks,
            }
        finally:
            await redis.aclose()
