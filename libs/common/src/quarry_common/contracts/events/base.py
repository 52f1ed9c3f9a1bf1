"""What every event has: a type, a thing that it is about, and ways on which it reaches subscribers."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its zone; events give UTC."""


class Way(StrEnum):
    """How events reach subscribers."""

    STREAM = "stream"
    """NATS: durable, replayable."""
    WEBHOOKS = "webhooks"
    """Requests to the endpoints of the tenant."""
    SSE = "sse"
    """Server-sent events of the HTTP API."""


EVERY_WAY: Final = frozenset(Way)
NO_WEBHOOKS: Final = frozenset({Way.STREAM, Way.SSE})


class EventData(msgspec.Struct, frozen=True):
    """Base of what an event tells; `type` is `<entity>.<verb>`, `subject_id` names the thing it is about."""

    type: ClassVar[str]
    schema_version: ClassVar[int] = 1
    """Raised by what a reader of the version before would not bear; see docs/events.md."""
    ways: ClassVar[frozenset[Way]] = EVERY_WAY
    of_installation: ClassVar[bool] = False
    """Whether it is told to the installation (`PLATFORM_TENANT`), not to a tenant."""

    @property
    def subject_id(self) -> str:
        """The id of the thing that the event is about; events of one thing keep their order."""
        raise AssertionError(f"{type(self).__name__} does not say what it is about")


def schema_id(kind: type[EventData]) -> str:
    """Return the name of what `kind` looks like, with its version."""
    return f"urn:quarry:event:{kind.type}:{kind.schema_version}"
