"""Connections to NATS. They reconnect for ever; what needs an answer has a deadline of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.errors import Error as NatsError

from quarry_common.errors import UnavailableError
from quarry_common.messaging.connecting import TlsBroker, close, open_client
from quarry_common.settings import NatsSettings

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1
CONNECT_SECONDS = 2
FIRST_CONNECT_SECONDS = 10.0


async def _tell_disconnected() -> None:
    log.warning("message bus: disconnected; reconnecting")


async def _tell_reconnected() -> None:
    log.info("message bus: reconnected")


@asynccontextmanager
async def connect(
    settings: NatsSettings, name: str, *, seconds: float = FIRST_CONNECT_SECONDS
) -> AsyncIterator[Client]:
    """Connect to the bus.

    Raises `SettingsError` when a server refuses the login or its certificate does not hold,
    `UnavailableError` when none answers within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            client = await open_client(
                settings,
                **_options(name),
                disconnected_cb=_tell_disconnected,
                reconnected_cb=_tell_reconnected,
            )
    except (OSError, TimeoutError, NatsError) as error:
        raise UnavailableError(
            "No NATS server answers at NATS_URL.", advice="Start it, or correct NATS_URL."
        ) from error
    try:
        yield client
    finally:
        await close(client)


def broker(settings: NatsSettings, name: str) -> NatsBroker:
    """Return FastStream's own connection, for durable consumers; it has yet to be started."""
    return TlsBroker(settings, **_options(name), graceful_timeout=15.0, logger=None)


def _options(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_SECONDS,
        "connect_timeout": CONNECT_SECONDS,
        "ping_interval": 10,
    }


async def check(client: Client) -> None:
    """Raise `UnavailableError` when the bus does not answer."""
    if not client.is_connected:
        # Without its reading task nats-py would wait for no answer, and call the flush done.
        raise UnavailableError("The message bus does not answer.")
    try:
        await client.flush(timeout=2)
    except (NatsError, TimeoutError, OSError) as error:
        raise UnavailableError("The message bus does not answer.") from error
