"""The events of the platform."""

from datetime import datetime
from typing import Final

from quarry_client import types
from quarry_client.calls.call import Call, post

REPLAY_SECONDS: Final = 30.0


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
