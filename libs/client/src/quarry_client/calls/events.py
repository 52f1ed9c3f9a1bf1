"""The events of the platform."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from quarry_client import types
from quarry_client.calls.call import Call, get, post

REPLAY_SECONDS: Final = 30.0


def follow_events(
    event_types: Sequence[str] = (), *, since: datetime | None = None, everywhere: bool = False
) -> Call[types.PlatformEvent]:
    """Be told what happens in the tenant, or with the operator's key `everywhere`.

    Each of `event_types` is a type, such as `document.indexed`, or `<entity>.*`. `since` has a zone.
    """
    path = "/api/admin/events/stream" if everywhere else "/api/events/stream"
    return get(path, types.PlatformEvent, event_types=",".join(event_types) or None, since=since)


def replay_events(
    service: types.OutboxServiceName,
    *,
    since: datetime,
    until: datetime,
    tenant: str | None = None,
    idempotency_key: str | None = None,
) -> Call[types.EventsReplayed]:
    """Have events of a service published once more, of `tenant` or of all; asks for the operator's key.

    They keep their ids. Times have a zone.
    """
    return post(
        "/api/admin/events/replay",
        {"service": service, "since": since, "until": until, "tenant": tenant},
        types.EventsReplayed,
        idempotency_key=idempotency_key,
        extra_seconds=REPLAY_SECONDS,
    )
