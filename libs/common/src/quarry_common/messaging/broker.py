"""Connections to NATS. They reconnect for ever; what needs an answer has a deadline of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.errors import Error as NatsError

from quarry_common.errors import UnavailableError
from quarry_common.settings import NatsSettings

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1
CONNECT_SECONDS = 2
FIRST_CONNECT_SECONDS = 10.0


async def _tell_error(error: Exception) -> None:
    log.warning("message bus: %s", str(error) or type(error).__name__)


async def _tell_disconnected() -> None:
    log.warning("message bus: disconnected; reconnecting")


async def _tell_reconnected() -> None:
    log.info("message bus: reconnected")


def servers(settings: NatsSettings) -> list[str]:
    """Return the addresses in the settings."""
    return [address.strip() for address in settings.nats_url.split(",") if address.strip()]


@asynccontextmanager
async def connect(settings: NatsSettings, name: str) -> AsyncIterator[Client]:
    """Connect to the bus. Raises `UnavailableError` when no server answers within ten seconds."""
    client = Client()
    try:
        async with asyncio.timeout(FIRST_CONNECT_SECONDS):
            await client.connect(
                servers(settings),
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_SECONDS,
                connect_timeout=CONNECT_SECONDS,
                ping_interval=10,
                error_cb=_tell_error,
                disconnected_cb=_tell_disconnected,
                reconnected_cb=_tell_reconnected,
            )
    except (OSError, TimeoutError, NatsError) as error:
        await _close(client)
        raise UnavailableError(
            "No NATS server answers at NATS_URL.", advice="Start it, or correct NATS_URL."
        ) from error
    try:
        yield client
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(2):
            await client.close()
    except (TimeoutError, NatsError, OSError):
        log.warning("message bus: the connection did not close in time")


def broker(settings: NatsSettings, name: str) -> NatsBroker:
    """Return FastStream's own connection, for durable consumers; it has yet to be started."""
    return NatsBroker(
        servers(settings),
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_SECONDS,
        connect_timeout=CONNECT_SECONDS,
        ping_interval=10,
        error_cb=_tell_error,
        graceful_timeout=15.0,
        logger=None,
    )


async def check(client: Client) -> None:
    """Raise `UnavailableError` when the bus does not answer."""
    try:
        await client.flush(timeout=2)
    except (NatsError, TimeoutError, OSError) as error:
        raise UnavailableError("The message bus does not answer.") from error
