"""What follows from an attempt."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.webhooks import DeliveryState, DisabledReason, Outcome
from quarry_webhooks.domain import schedule

GONE = 410
DISABLE_HEADER = "webhook-delivery"
BUCKET_BASE = 1.1


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as it is kept."""

    delivery_id: UUID
    step: int
    """Of the schedule."""
    started_at: datetime
    ended_at: datetime
    duration_ms: float
    outcome: Outcome
    status: int | None
    detail: str
    url: str
    request_headers: dict[str, str]
    response_headers: dict[str, str]
    response_excerpt: str

    @property
    def delivered(self) -> bool:
        """Whether the endpoint has it."""
        return self.outcome is Outcome.DELIVERED


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a delivery; `next_attempt_at` is given while it is pending."""

    state: DeliveryState
    next_attempt_at: datetime | None = None


def judge(
    attempt: Attempt, delays: Sequence[float], *, disabled: DisabledReason | None, patience: datetime | None
) -> Verdict:
    """Decide what becomes of a delivery after `attempt`.

    To an endpoint that is disabled only forced attempts are made, and one each: what failed is held, unless
    the owner switched the endpoint off: nothing is kept for it then.
    """
    if attempt.delivered:
        return Verdict(DeliveryState.DELIVERED)
    if disabled is not None:
        return Verdict(DeliveryState.FAILED if disabled is DisabledReason.OWNER else DeliveryState.HELD)
    delay = schedule.delay(attempt.step + 1, delays)
    if delay is None:
        return Verdict(DeliveryState.FAILED)
    at = attempt.ended_at + delay
    return Verdict(DeliveryState.PENDING, max(at, patience) if patience is not None else at)


def disables(status: int | None, headers: Mapping[str, str]) -> DisabledReason | None:
    """Return why an answer switches its endpoint off, or None."""
    if status == GONE:
        return DisabledReason.GONE
    for name, value in headers.items():
        if name.lower() == DISABLE_HEADER and value.strip().lower() == "disable":
            return DisabledReason.REQUESTED
    return None


def bucket(duration_ms: float) -> int:
    """Return the bucket of a duration: n holds those above 1.1^(n-1) and up to 1.1^n milliseconds, 0 all up
    to one."""
    return max(0, math.ceil(math.log(duration_ms) / math.log(BUCKET_BASE) - 1e-9)) if duration_ms > 1 else 0
