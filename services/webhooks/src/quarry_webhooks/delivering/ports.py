"""What deliveries are made with, and by which rules."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from quarry_webhooks.domain.schedule import DELAYS_SECONDS
from quarry_webhooks.egress.exchange import Exchange

Clock = Callable[[], datetime]
"""Returns the present time, with its zone."""


class Sender(Protocol):
    """Sends requests to where they may go, in bounded time; it raises nothing but a cancellation."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Send a request."""


class Sealer(Protocol):
    """Opens what is kept encrypted of an endpoint."""

    def open(self, tenant_id: UUID, endpoint_id: UUID, sealed: bytes) -> bytes:
        """Return the content: a secret as text, or headers as an object in JSON."""


class Tools(msgspec.Struct, frozen=True):
    """What requests are made with."""

    sender: Sender
    sealer: Sealer
    clock: Clock


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How much at once, how often and for how long."""

    concurrency: int = 200
    """Requests of this process at once."""
    per_endpoint: int = 10
    """Of them to one endpoint; one at a time to those that keep the order."""
    delays_seconds: tuple[float, ...] = DELAYS_SECONDS
    """Before each attempt of a delivery."""
    disable_after: timedelta = timedelta(hours=120)
    """An endpoint to which nothing was delivered for so long, though it was tried, is disabled."""
    lease_seconds: float = 30.0
    """After it the endpoints of a process that was killed are taken over."""
    keep: timedelta = timedelta(days=30)
    """How long messages, deliveries and attempts are kept that are over."""
    keep_held: timedelta = timedelta(days=14)
    keep_hours: timedelta = timedelta(days=90)
    """How long rollups are kept."""

    @property
    def per_tenant(self) -> int:
        """Requests, and endpoints, of one tenant at once: half, so that there is room for the next."""
        return max(1, self.concurrency // 2)
