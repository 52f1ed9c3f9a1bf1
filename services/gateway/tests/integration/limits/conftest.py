"""Rate limits on real Redis servers, of which some are frozen or killed."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from libs.common.tests.integration.cache.conftest import MortalRedis
from redis.asyncio import Redis

from quarry_common.cache.connection import open_redis
from quarry_gateway.limits.rates import Rates, open_rates
from quarry_gateway.settings import GatewaySettings

OpenRates = Callable[..., AbstractAsyncContextManager[Rates]]


@pytest.fixture
def prefix() -> str:
    """Keeps a test apart from the others on the session's Redis."""
    return f"{uuid4().hex}:"


@pytest.fixture
def settings(redis_url: str, prefix: str) -> GatewaySettings:
    # The machines of tests stand still for longer than a request may wait.
    return GatewaySettings(redis_url=redis_url, cache_prefix=prefix, redis_timeout_seconds=2)


@pytest.fixture
async def redis(settings: GatewaySettings) -> AsyncIterator[Redis]:
    client = open_redis(settings)
    yield client
    await client.aclose()


@pytest.fixture
def open_one(settings: GatewaySettings) -> OpenRates:
    """Opens rate limits over the session's Redis: each is like a gateway of its own."""

    @asynccontextmanager
    async def opened(**more: object) -> AsyncIterator[Rates]:
        async with open_rates(GatewaySettings(**(settings.model_dump() | more))) as rates:
            yield rates

    return opened


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[MortalRedis]:
    server = MortalRedis(tmp_path)
    yield server
    server.stop()
