"""Rules of replays: which ranges can be replayed."""

from datetime import datetime, timedelta
from typing import Final

from quarry_common.contracts.streams import DAY_SECONDS
from quarry_common.contracts.webhooks import ReplayKind, StartReplay
from quarry_common.errors import ConflictError, FieldError, ValidationError

LONGEST: Final = timedelta(seconds=14 * DAY_SECONDS)
"""Events are not kept for longer."""
SLACK: Final = timedelta(minutes=5)
"""Clocks differ, and requests take time."""
MOST_OPEN: Final = 5


def check_range(request: StartReplay, now: datetime) -> None:
    """Raise `ValidationError` for a range that is none, too long, or of events that are not kept any more."""
    errors = [
        FieldError(name, "must have a time zone")
        for name, time in (("since", request.since), ("until", request.until))
        if time.tzinfo is None
    ]
    if not errors and request.until <= request.since:
        errors.append(FieldError("until", "must be after `since`"))
    if not errors and request.until - request.since > LONGEST + SLACK:
        errors.append(FieldError("since", f"must be at most {LONGEST.days} days before `until`"))
    if not errors and request.since > now + SLACK:
        errors.append(FieldError("since", "must not be in the future"))
    too_old = not errors and request.since < now - LONGEST - SLACK
    if too_old and request.kind is ReplayKind.REPLAY:
        errors.append(
            FieldError("since", f"must be at most {LONGEST.days} days ago: events are not kept longer")
        )
    if errors:
        raise ValidationError("The range cannot be replayed.", errors=errors)


def check_open(replays: int) -> None:
    """Raise `ConflictError` when an endpoint has enough replays that have not ended."""
    if replays >= MOST_OPEN:
        raise ConflictError(
            f"The endpoint has {replays} replays that have not ended.", advice="Wait until one of them has."
        )
