"""What is sent of an event: the same bytes for every endpoint and every attempt."""

from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.events import CloudEvent


class Body(msgspec.Struct, frozen=True):
    """The body of a request, as Standard Webhooks 1.0 recommends it, with what the event is about."""

    id: str
    type: str
    timestamp: datetime
    subject: str
    tenant_id: str
    data: msgspec.Raw


class Message(msgspec.Struct, frozen=True):
    """An event as it is kept for endpoints; `position` is its place in the stream."""

    id: UUID
    tenant_id: UUID
    event_type: str
    subject: str
    payload: bytes
    traceparent: str
    occurred_at: datetime
    position: int


def read(raw: bytes, position: int) -> Message:
    """Return the message of a CloudEvent in JSON. Raises `msgspec.MsgspecError` for what is none."""
    event = msgspec.json.decode(raw, type=CloudEvent)
    try:
        identity, tenant_id = UUID(event.id), UUID(event.tenantid)
    except ValueError as error:
        raise msgspec.ValidationError(f"an id of the event is no UUID: {error}") from None
    if event.time.tzinfo is None:
        raise msgspec.ValidationError("the time of the event has no zone")
    payload = msgspec.json.encode(
        Body(event.id, event.type, event.time, event.subject, event.tenantid, event.data)
    )
    return Message(
        identity, tenant_id, event.type, event.subject, payload, event.traceparent, event.time, position
    )
