"""The envelope: CloudEvents 1.0 in structured JSON."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts import subjects
from quarry_common.contracts.events.base import EventData, Moment, schema_id
from quarry_common.contracts.events.searches import Interacted, Searched, SearchesUnrecorded
from quarry_common.contracts.events.types import EVENT_TYPES
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.ids import new_id

SPEC_VERSION: Final = "1.0"
JSON: Final = "application/json"


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The envelope, as CloudEvents 1.0 names its attributes; extension attributes carry tenant and trace."""

    id: str
    source: str
    type: str
    subject: str
    time: Moment
    tenantid: str
    data: msgspec.Raw
    specversion: str
    datacontenttype: str
    traceparent: str = ""
    dataschema: str = ""
    """Name and version of what `data` looks like."""


def envelope(
    data: EventData,
    *,
    source: str,
    tenant_id: UUID | None,
    traceparent: str = "",
    event_id: UUID | None = None,
) -> CloudEvent:
    """Wrap `data` for sending; `source` is the service that it comes from.

    `event_id` is for what several processes may tell, who then must give it the same one.
    """
    return CloudEvent(
        id=str(event_id or new_id()),
        source=f"/quarry/{source}",
        type=data.type,
        subject=data.subject_id,
        time=datetime.now(UTC),
        tenantid=str(tenant_id or PLATFORM_TENANT),
        data=msgspec.Raw(msgspec.json.encode(data)),
        specversion=SPEC_VERSION,
        datacontenttype=JSON,
        traceparent=traceparent,
        dataschema=schema_id(type(data)),
    )


def subject_of(event: CloudEvent) -> str:
    """Return the NATS subject of `event`."""
    tenant_id = UUID(event.tenantid)
    match event.type:
        case Searched.type | SearchesUnrecorded.type:
            return subjects.search_log(tenant_id)
        case Interacted.type:
            return subjects.interactions(tenant_id)
        case _:
            return subjects.event(tenant_id, event.type)


def decode_data(event: CloudEvent) -> EventData:
    """Return what `event` tells, in its own type. Raises `msgspec.ValidationError` for an unknown one."""
    kind = EVENT_TYPES.get(event.type)
    if kind is None:
        raise msgspec.ValidationError(f"unknown event type {event.type}")
    return msgspec.json.decode(event.data, type=kind)
