"""Whether the servers that the environment names let the platform in: asked as its services do."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping

import httpx

from quarry_common import tls
from quarry_common.cache.connection import open_redis, trouble
from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.messaging import broker
from quarry_common.postgres.connecting import connect
from quarry_common.settings import (
    NatsSettings,
    PostgresSettings,
    QdrantSettings,
    RedisSettings,
    SettingsError,
    load,
)

SECONDS = 3.0

Environ = Mapping[str, str]


def refusal(variable: str, environ: Environ) -> QuarryError | None:
    """Return why the server in `variable`, such as REDIS_URL, cannot be used; None when it can."""
    try:
        asyncio.run(_SERVERS[variable](environ))
    except QuarryError as error:
        return error
    return None


async def _postgres(environ: Environ) -> None:
    settings = load(PostgresSettings, environ)
    connection = await connect(settings.database_url, settings, "DATABASE_URL", seconds=SECONDS)
    await connection.close(timeout=SECONDS)


async def _redis(environ: Environ) -> None:
    client = open_redis(load(RedisSettings, environ), timeout_seconds=SECONDS)
    try:
        await client.ping()
    except Exception as error:
        raise UnavailableError(trouble(error), advice="") from error
    finally:
        await client.aclose()


async def _nats(environ: Environ) -> None:
    async with broker.connect(load(NatsSettings, environ), "quarry-doctor", seconds=SECONDS) as client:
        await broker.check(client)


async def _qdrant(environ: Environ) -> None:
    settings = load(QdrantSettings, environ)
    context = tls.context(settings.qdrant_ca_file)
    try:
        async with httpx.AsyncClient(verify=context, timeout=SECONDS, trust_env=False) as client:
            (await client.get(f"{settings.qdrant_url.rstrip('/')}/readyz")).raise_for_status()
    except httpx.HTTPError as error:
        if fault := tls.fault(error, "Qdrant", "QDRANT_URL", "QDRANT"):
            raise SettingsError(fault.detail, advice=fault.advice) from error
        raise UnavailableError(f"Qdrant does not answer: {error}.", advice="") from error


_SERVERS: Mapping[str, Callable[[Environ], Coroutine[object, object, None]]] = {
    "DATABASE_URL": _postgres,
    "REDIS_URL": _redis,
    "NATS_URL": _nats,
    "QDRANT_URL": _qdrant,
}
