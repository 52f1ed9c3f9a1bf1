"""How many streams may be open."""

from collections import Counter
from uuid import UUID

from prometheus_client import Gauge

from quarry_common.errors import RateLimitedError, UnavailableError

OPEN = Gauge("http_event_streams", "Event streams that are open.")
AGAIN_SECONDS = 5


class Room:
    """Counts the streams that are open: at most `most` in all, at most `most_of_tenant` of one tenant."""

    def __init__(self, most: int, most_of_tenant: int) -> None:
        self._most = most
        self._most_of_tenant = most_of_tenant
        self._open: Counter[UUID] = Counter()

    def enter(self, tenant_id: UUID) -> None:
        """Account for one more, until `leave`. Raises `UnavailableError` or `RateLimitedError`."""
        if self._open.total() >= self._most:
            raise UnavailableError("Too many event streams are open.", retry_after_seconds=AGAIN_SECONDS)
        if self._open[tenant_id] >= self._most_of_tenant:
            raise RateLimitedError(
                f"The tenant has {self._most_of_tenant} event streams open, and may have no more.",
                advice="Close some, or follow everything with one.",
                retry_after_seconds=AGAIN_SECONDS,
            )
        self._open[tenant_id] += 1
        OPEN.set(self._open.total())

    def leave(self, tenant_id: UUID) -> None:
        """Account for one that has ended."""
        self._open[tenant_id] -= 1
        if not self._open[tenant_id]:
            del self._open[tenant_id]
        OPEN.set(self._open.total())
