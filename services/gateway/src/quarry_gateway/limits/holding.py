"""What one gateway holds of a tenant's searches of one day: pure rules, without I/O.

Searches of a quota are leased from the tenants service in blocks. Each is free, held by a running search, or
answered; what is free in the end is given back. Without a quota nothing is leased. What was answered is told
with whatever asks for more or gives back, and otherwise together with that of other tenants.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final
from uuid import UUID

from quarry_common.contracts.usage import LeaseSearches, SearchTally, SettleSearches
from quarry_common.ids import new_id

FIRST_BLOCK: Final = 8
LARGEST_BLOCK: Final = 500
BUSY_SECONDS: Final = 5.0
"""A block that was used up in less is followed by one twice as large."""
QUIET_SECONDS: Final = 20.0
"""A block that lasted longer is followed by one half as large."""
IDLE_SECONDS: Final = 30.0
"""So long after the last lease, what is free still is given back."""

Message = LeaseSearches | SettleSearches


class Holding:
    """Counts searches. Times are seconds of a monotonic clock.

    One message at a time of this tenant is on its way to the tenants service: `sent`. What it tells is in it
    and nowhere else, so that it can be repeated as it is until it is known to have arrived.
    """

    def __init__(self, tenant_id: UUID, day: date, now: float) -> None:
        self.tenant_id = tenant_id
        self.day = day
        self.free = self.held = self.answered = 0
        self.unlimited = self.metered = 0
        """Without a quota: running, and answered."""
        self.sent: Message | None = None
        self.sent_at = self.used_at = now
        self._limit = 0
        self._block = FIRST_BLOCK
        self._leased_at = float("-inf")

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost if it were forgotten."""
        running = self.held or self.unlimited
        return not (running or self.free or self.answered or self.metered or self.sent)

    def hold(self, count: int, now: float) -> bool:
        """Let `count` searches run; return whether so many were free."""
        if self.free < count:
            return False
        self.free -= count
        self.held += count
        self.used_at = now
        return True

    def finish(self, count: int, failed: int) -> None:
        """Count searches as answered but those that `failed`, which are free again."""
        self.held -= count
        self.free += failed
        self.answered += count - failed

    def finish_unlimited(self, count: int, failed: int) -> None:
        """Count searches that ran without a quota."""
        self.unlimited -= count
        self.metered += count - failed

    def lease(self, limit: int, wanted: int, needed: int, now: float) -> LeaseSearches:
        """Return the message that asks for `wanted` searches or as many as the demand of late suggests."""
        lasted = now - self._leased_at
        if lasted < BUSY_SECONDS:
            self._block = min(self._block * 2, LARGEST_BLOCK)
        elif lasted > QUIET_SECONDS:
            self._block = max(self._block // 2, FIRST_BLOCK)
        self._leased_at, self._limit = now, limit
        wanted = max(needed, min(max(wanted, self._block), LARGEST_BLOCK))
        message = LeaseSearches(
            self.tenant_id, self.day, limit, wanted, self.answered, new_id(), needed=needed
        )
        self.answered = 0
        self.sent, self.sent_at = message, now
        return message

    def due(self, now: float, today: date, idle_seconds: float = IDLE_SECONDS) -> bool:
        """Return whether what is free is to be given back by now."""
        return self.free > 0 and (self.day != today or now - self._leased_at >= idle_seconds)

    def give_back(self, now: float) -> SettleSearches | None:
        """Return the message that gives back what is free; None without any."""
        if not self.free:
            return None
        message = SettleSearches(self.tenant_id, self.day, self._limit, self.free, self.answered, new_id())
        self.free = self.answered = 0
        self.sent, self.sent_at = message, now
        return message

    def tell(self) -> Iterator[SearchTally]:
        """Yield what was answered and not told yet; from now on it is for the caller to tell."""
        if self.answered:
            yield SearchTally(self.tenant_id, self.day, self._limit, self.answered)
        if self.metered:
            yield SearchTally(self.tenant_id, self.day, None, self.metered)
        self.answered = self.metered = 0

    def arrived(self, granted: int = 0) -> None:
        """Take note that the message was answered."""
        self.sent = None
        self.free += granted
