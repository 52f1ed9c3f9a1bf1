"""The only place that makes clients of Redis: every wait bounded, no retries inside, the pool made once."""

from redis.asyncio import Redis, Sentinel
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from quarry_common.cache.address import SentinelAddress, parse
from quarry_common.settings import RedisSettings

SENTINEL_SECONDS = 0.5
"""For one Sentinel to connect and to answer; the next is asked then."""


class _SentinelPool(SentinelConnectionPool):
    """Connections to the present master; closing it closes those to the Sentinels too."""

    sentinel_manager: Sentinel

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def open_redis(
    settings: RedisSettings, *, timeout_seconds: float | None = None, connections: int | None = None
) -> Redis:
    """Return a client of the Redis in the settings; nothing is sent before its first command.

    A command waits `timeout_seconds` for an answer (REDIS_TIMEOUT_SECONDS by default) and is not repeated
    inside: redis-py's own retries held one call for 20 s while a master was frozen. More than `connections`
    commands at a time raise `redis.exceptions.MaxConnectionsError`. The caller closes it with `aclose`.
    """
    address = parse(settings.redis_url.get_secret_value())
    bounds = {
        "socket_timeout": timeout_seconds or settings.redis_timeout_seconds,
        "socket_connect_timeout": settings.redis_connect_timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": connections or settings.redis_max_connections,
        # What newer protocols and names of drivers add are round trips at each connect.
        "protocol": 2,
        "driver_info": None,
    }
    if isinstance(address, SentinelAddress):
        return Redis.from_pool(_sentinel_pool(address, bounds))
    return Redis.from_pool(ConnectionPool.from_url(address, **bounds))


def _sentinel_pool(address: SentinelAddress, bounds: dict[str, object]) -> _SentinelPool:
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        address.sentinels,
        sentinel_kwargs={
            "username": address.sentinel_username,
            "password": address.sentinel_password,
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
            "ssl": address.tls,
        },
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        address.service,
        sentinels,
        db=address.db,
        username=address.username,
        password=address.password,
        ssl=address.tls,
        **bounds,
    )
