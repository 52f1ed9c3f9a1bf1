"""Turns events into deliveries: one for each endpoint that wants them.

One process at a time does it, in the order of the stream: an endpoint that keeps the order must not get a
later event before an earlier one. An event that comes again adds nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from nats.aio.client import Client

from quarry_common.contracts.events import Way
from quarry_common.contracts.events.filters import matches
from quarry_common.contracts.streams import WEBHOOKS_EVENTS
from quarry_common.messaging.batches import BatchConsumer
from quarry_common.messaging.consumer import Delivery
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Database
from quarry_webhooks.domain import messages
from quarry_webhooks.domain.messages import Message
from quarry_webhooks.repository import messages as repository
from quarry_webhooks.repository import queues
from quarry_webhooks.repository.messages import Subscription, Wanted

LEASE_SECONDS = 15.0
ROWS = 2_000
"""Deliveries that are made in one statement at most: an event may be wanted by many endpoints."""


class FanOut:
    """Makes deliveries of batches of events."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Make deliveries, in one transaction for each tenant with endpoints.

        Raises `msgspec.MsgspecError` for what is no event, before anything is written.
        """
        by_tenant: dict[UUID, list[Message]] = defaultdict(list)
        for delivery in deliveries:
            message = messages.read(delivery.body, delivery.sequence)
            by_tenant[message.tenant_id].append(message)
        async with self._database.worker_transaction() as worker:
            found = await repository.subscriptions(worker, by_tenant)
        subscribed: dict[UUID, list[Subscription]] = defaultdict(list)
        for subscription in found:
            subscribed[subscription.tenant_id].append(subscription)
        for tenant_id, endpoints in subscribed.items():
            await self._deliver(tenant_id, endpoints, by_tenant[tenant_id])

    async def _deliver(
        self, tenant_id: UUID, endpoints: Sequence[Subscription], events: Sequence[Message]
    ) -> None:
        wanted = [
            Wanted(endpoint.endpoint_id, event)
            for event in events
            for endpoint in endpoints
            if matches(event.event_type, endpoint.event_types, Way.WEBHOOKS)
        ]
        if not wanted:
            return
        now = self._clock()
        async with self._database.tenant_transaction(tenant_id) as connection:
            await repository.add_messages(
                connection, list({w.message.id: w.message for w in wanted}.values())
            )
            pending: set[UUID] = set()
            for first in range(0, len(wanted), ROWS):
                pending.update(await repository.add_deliveries(connection, wanted[first : first + ROWS], now))
            if pending:
                await queues.add_due(connection, tenant_id, list(pending), now)


def consumer(database: Database, bus: Client, clock: Callable[[], datetime]) -> BatchConsumer:
    """Return the part that feeds events to the fan-out."""
    return BatchConsumer(
        bus,
        WEBHOOKS_EVENTS,
        FanOut(database, clock).handle,
        leadership=Leadership(database, "fan-out", seconds=LEASE_SECONDS),
    )
