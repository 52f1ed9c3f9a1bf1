"""The only place that makes clients of Redis: every wait bounded, no retries inside, the pool made once."""

import ssl
from typing import Any

from redis.asyncio import Redis, Sentinel
from redis.asyncio.connection import ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError

from quarry_common import tls
from quarry_common.cache.address import SentinelAddress, parse, uses_tls
from quarry_common.settings import RedisSettings

SENTINEL_SECONDS = 0.5
"""For one Sentinel to connect and to answer; the next is asked then."""


class _Verifying:
    """A connection by the context that all of a client share. redis-py would read the authorities from the
    disk at each connect, and trust the system's besides those in REDIS_CA_FILE.
    """

    ssl_context: Any

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class _TlsConnection(_Verifying, SSLConnection):
    pass


class _TlsMasterConnection(_Verifying, SentinelManagedSSLConnection):
    pass


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
    url = settings.redis_url.get_secret_value()
    address = parse(url)
    bounds: dict[str, object] = {
        "socket_timeout": timeout_seconds or settings.redis_timeout_seconds,
        "socket_connect_timeout": settings.redis_connect_timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": connections or settings.redis_max_connections,
        # What newer protocols and names of drivers add are round trips at each connect.
        "protocol": 2,
        "driver_info": None,
    }
    if password := settings.redis_password.get_secret_value():
        bounds["password"] = password
    pool = (
        _sentinel_pool(address, bounds)
        if isinstance(address, SentinelAddress)
        else ConnectionPool.from_url(address, **bounds)
    )
    if uses_tls(url):
        context = tls.context(settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)
        _verify(pool, context)
    return Redis.from_pool(pool)


def trouble(error: BaseException) -> str:
    """Return in a sentence or two why a command failed; what only a setting can mend names it."""
    if fault := tls.fault(error, "Redis", "REDIS_URL", "REDIS"):
        return f"{fault.detail} {fault.advice}"
    if isinstance(error, AuthenticationError):
        return "Redis refuses the login. Correct the login in REDIS_URL, or REDIS_PASSWORD."
    if isinstance(error, NoPermissionError):
        return "Redis does not let this user do what a cache needs. Correct the user's ACL, or REDIS_URL."
    return str(error) or "no answer in time"


def _verify(pool: ConnectionPool, context: ssl.SSLContext) -> None:
    """Let the connections of `pool`, and those to its Sentinels, be by `context`."""
    pool.connection_kwargs["context"] = context
    if isinstance(pool, _SentinelPool):
        pool.connection_class = _TlsMasterConnection
        for sentinel in pool.sentinel_manager.sentinels:
            _verify(sentinel.connection_pool, context)
    else:
        pool.connection_class = _TlsConnection


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
        **{
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "ssl": address.tls,
            **bounds,
        },
    )
