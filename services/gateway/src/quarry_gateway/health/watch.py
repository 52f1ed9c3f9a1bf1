"""Watches the platform's dependencies and tells the installation when one fails and when it is well again.

The events go straight to JetStream: no transaction is involved, and the database may be what has failed. What
cannot be told because the bus is away is told when it is back.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from quarry_common.contracts import subjects
from quarry_common.contracts.events import (
    CloudEvent,
    HealthCheckFailed,
    HealthRecovered,
    decode_data,
    envelope,
    subject_of,
)
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.health import Health
from quarry_common.waiting import pause
from quarry_gateway.health.changes import HealthChanges

log = logging.getLogger(__name__)

SERVICE: Final = "gateway"
PUBLISH_SECONDS: Final = 2.0
TOLD_BEFORE: Final = subjects.event(PLATFORM_TENANT, "health.*")


class HealthWatch:
    """Checks `dependencies` every `interval_seconds`. Any number of gateways may watch."""

    def __init__(self, dependencies: Health, connection: Client, *, interval_seconds: float) -> None:
        self._dependencies = dependencies
        self._connection = connection
        self._stream: JetStreamContext = connection.jetstream(timeout=PUBLISH_SECONDS)
        self._interval_seconds = interval_seconds
        self._changes = HealthChanges()
        self._next_sequence = 1

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch until `stopping` is set."""
        while not stopping.is_set():
            await pause(stopping, self._interval_seconds)
            if not stopping.is_set():
                await self.look()

    async def look(self) -> None:
        """Check once, and tell what has changed as far as the bus is there."""
        self._changes.see(await self._dependencies.results(), datetime.now(UTC))
        if not self._connection.is_connected:
            return
        try:
            await self._catch_up()
            await self._tell()
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("changes of health wait to be told: %s", type(error).__name__)

    async def _catch_up(self) -> None:
        """Read what was told since the last time: by this gateway, by others, before it started."""
        while True:
            try:
                message = await self._stream.get_msg(
                    EVENTS.name, self._next_sequence, subject=TOLD_BEFORE, next=True
                )
            except NotFoundError:
                return
            assert message.seq is not None  # noqa: S101 - a stored message has one
            self._next_sequence = message.seq + 1
            try:
                event = msgspec.json.decode(message.data or b"", type=CloudEvent)
                data, event_id = decode_data(event), UUID(event.id)
            except (msgspec.MsgspecError, ValueError):
                log.warning("an event could not be read", extra={"subject": message.subject})
                continue
            if isinstance(data, HealthCheckFailed | HealthRecovered):
                self._changes.heard(event_id, data)

    async def _tell(self) -> None:
        for event_id, change in self._changes.to_tell():
            event = envelope(change, source=SERVICE, tenant_id=PLATFORM_TENANT, event_id=event_id)
            await self._stream.publish(
                subject_of(event), msgspec.json.encode(event), headers={"Nats-Msg-Id": event.id}
            )
            log.warning("%s: %s %s", change.type, change.check, change.detail)
