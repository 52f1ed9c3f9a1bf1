"""The quota of endpoints, and what is told of how far it is used."""

from typing import Final

import msgspec

from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import Quota
from quarry_common.errors import QuotaExceededError

THRESHOLD_PERCENT: Final = 80

QuotaEvent = QuotaThresholdReached | QuotaExceeded


class Told(msgspec.Struct, frozen=True):
    """What was told of the quota while it had this limit."""

    limit: int
    threshold: bool = False
    exceeded: bool = False


def require_room(used: int, limit: int | None) -> None:
    """Raise `QuotaExceededError` when there may be no more endpoints."""
    if limit is not None and used >= limit:
        raise QuotaExceededError(
            f"The tenant has {used} webhook endpoints, and its quota `{Quota.WEBHOOKS.value}` is {limit}.",
            advice="Delete endpoints that are no longer needed, or ask the operator for a higher quota.",
        )


def tell(
    told: Told | None, used: int, limit: int | None, *, refused: bool = False
) -> tuple[Told | None, list[QuotaEvent]]:
    """Return what has been told once the events are, and the events: each once until use falls below the
    threshold or the limit is raised. With one `refused` the quota is exceeded."""
    if limit is None:
        return None, []
    before = told if told is not None and limit <= told.limit else Told(limit)
    reached = before.threshold or (used > 0 and used * 100 >= limit * THRESHOLD_PERCENT)
    full = before.exceeded or refused or (used > 0 and used >= limit)
    events: list[QuotaEvent] = []
    if reached and not before.threshold:
        events.append(QuotaThresholdReached(Quota.WEBHOOKS, limit, used, THRESHOLD_PERCENT))
    if full and not before.exceeded:
        events.append(QuotaExceeded(Quota.WEBHOOKS, limit, used))
    return Told(limit, reached, full) if reached or full else None, events


def fallen(told: Told | None, used: int) -> Told | None:
    """Return what has still been told when there are fewer: nothing below the threshold."""
    return told if told is not None and used * 100 >= told.limit * THRESHOLD_PERCENT else None
