"""What is told of events."""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

OutboxServiceName = Literal["indexer", "tenants", "webhooks"]
OUTBOX_SERVICES: Final = ("indexer", "tenants", "webhooks")


class PlatformEvent(msgspec.Struct, frozen=True):
    """Something that happened, as CloudEvents 1.0 names what is told of it; docs/events.md has the types."""

    id: str
    """By it you know what you have seen."""
    type: str
    source: str
    subject: str
    """The id of the thing that it is about."""
    time: datetime
    tenantid: str
    data: dict[str, Any]
    dataschema: str = ""
    traceparent: str = ""
    place: str | None = None
    """Where it stands in the stream: what `follow_events` goes on after."""


class EventsMissed(msgspec.Struct, frozen=True):
    """Why events may be missing."""

    detail: str


class EventsReplayed(msgspec.Struct, frozen=True):
    """How many events wait to be published once more."""

    events: int
