"""Events that are published once more: `rpc.v1.<service>.replay_events`, answered by who has an outbox."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from quarry_common.contracts.rpc import RpcMethod

KEPT_HOURS = 72
"""For so long an outbox keeps what is published."""
MAX_EVENTS = 20_000
"""That one request may have published once more: what is new waits behind them."""


class OutboxService(StrEnum):
    """A service that tells of its changes by an outbox."""

    INDEXER = "indexer"
    TENANTS = "tenants"
    WEBHOOKS = "webhooks"


class ReplayEvents(msgspec.Struct, frozen=True):
    """Asks that events told from `since` on and before `until` be published once more, of a tenant or of all.

    They keep their ids, so that who has seen them does nothing twice. Raises `ValidationError` when they are
    more than `MAX_EVENTS`.
    """

    since: datetime
    until: datetime
    tenant_id: UUID | None = None
    idempotency_key: str | None = None


class EventsReplayed(msgspec.Struct, frozen=True):
    """How many events wait to be published once more."""

    events: int


def replay_of(service: OutboxService) -> RpcMethod[ReplayEvents, EventsReplayed]:
    """Return the method of `service`."""
    return RpcMethod(service.value, "replay_events", ReplayEvents, EventsReplayed)
