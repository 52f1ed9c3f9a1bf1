"""Handing on what users did to the stream of searches, whose consumers record it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from quarry_common.contracts import subjects
from quarry_common.contracts.events import CloudEvent, schema_id
from quarry_common.contracts.events.searches import Interacted
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id

PUBLISH_SECONDS: Final = 5.0
CONTENT_TYPE: Final = "application/cloudevents-batch+json"


class InteractionLog:
    """Sends interactions; what is acknowledged is kept until it is recorded."""

    def __init__(self, bus: Client) -> None:
        self._stream = bus.jetstream(timeout=PUBLISH_SECONDS)

    async def record(self, tenant_id: UUID, told: Sequence[Interacted]) -> None:
        """Send what users of a tenant did, as one message. Raises `UnavailableError`: then it may be sent
        again."""
        body = msgspec.json.encode([_event(tenant_id, each) for each in told])
        headers = {"Nats-Msg-Id": str(new_id()), "Content-Type": CONTENT_TYPE}
        try:
            await self._stream.publish(
                subjects.interactions(tenant_id), body, timeout=PUBLISH_SECONDS, headers=headers
            )
        except (NatsError, TimeoutError, OSError) as error:
            raise UnavailableError("Events cannot be taken in now.", retry_after_seconds=2) from error


def _event(tenant_id: UUID, data: Interacted) -> CloudEvent:
    return CloudEvent(
        id=str(data.event_id),
        source="/quarry/gateway",
        type=data.type,
        subject=data.subject_id,
        time=datetime.now(UTC),
        tenantid=str(tenant_id),
        data=msgspec.Raw(msgspec.json.encode(data)),
        specversion="1.0",
        datacontenttype="application/json",
        dataschema=schema_id(type(data)),
    )
