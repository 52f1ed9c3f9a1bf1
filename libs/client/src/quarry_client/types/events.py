"""What is told of events."""

from typing import Final, Literal

import msgspec

OutboxServiceName = Literal["indexer", "tenants", "webhooks"]
OUTBOX_SERVICES: Final = ("indexer", "tenants", "webhooks")


class EventsReplayed(msgspec.Struct, frozen=True):
    """How many events wait to be published once more."""

    events: int
