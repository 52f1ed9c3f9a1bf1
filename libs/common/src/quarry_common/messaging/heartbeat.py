"""Heartbeats: how an outbox tells its listeners that silence means that nothing has happened.

The process that relays the outbox of a service publishes one every quarter of a second, on core NATS and on
the connection that it publishes events on, so that events and heartbeats keep their order on the way.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from quarry_common.ids import new_id
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.25


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat. Those of one publisher are numbered without a gap."""

    publisher: str
    sequence: int
    sent_at: float
    """Seconds of the publisher's monotonic clock: only differences mean something."""
    lag_ms: float
    """Age of the oldest message that is not published yet; 0 when none waits."""


def subject(service: str) -> str:
    """Return the subject of the heartbeats of a service's outbox."""
    return f"hb.v1.{service}.outbox"


class Heartbeat:
    """Publishes heartbeats as long as this process relays the outbox of `service`.

    `lag_ms` returns the age in milliseconds of the oldest message that waits, or None in a process that does
    not relay: it stays silent. The age is counted from the last time that the outbox was read, if that is
    longer ago: what has come since is not known.
    """

    def __init__(self, connection: Client, service: str, lag_ms: Callable[[], float | None]) -> None:
        self._connection = connection
        self._subject = subject(service)
        self._lag_ms = lag_ms
        self._publisher = ""
        self._sequence = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until `stopping` is set."""
        while not stopping.is_set():
            await self._beat()
            await pause(stopping, INTERVAL_SECONDS)

    async def _beat(self) -> None:
        lag_ms = self._lag_ms()
        # What is written without a connection would be sent when there is one again, long after its time.
        if lag_ms is None or not self._connection.is_connected:
            self._publisher = ""
            return
        if not self._publisher:
            # Others may have published meanwhile: this is not a continuation.
            self._publisher, self._sequence = str(new_id()), 0
        self._sequence += 1
        beat = Beat(self._publisher, self._sequence, time.monotonic(), lag_ms)
        try:
            await self._connection.publish(self._subject, msgspec.json.encode(beat))
        except (NatsError, OSError) as error:
            log.warning("heartbeat: not sent: %s", error)
