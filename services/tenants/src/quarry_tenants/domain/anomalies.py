"""What is unusual in the use of a key. Each rule returns a sentence that says why, or None."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

DORMANT_KEY_USED: Final = "dormant_key_used"
DENIALS_SPIKED: Final = "denials_spiked"

SPIKE_DAYS: Final = 7
"""Days before, with which a day is compared."""
SPIKE_DENIALS: Final = 20
"""Fewer denials on a day are no spike: somebody tries something out."""
SPIKE_TIMES: Final = 5


def dormant_key_used(
    created_at: datetime, last_used_at: datetime | None, used_at: datetime, dormant: timedelta
) -> str | None:
    """Tell of a key that was not used for `dormant` before `used_at`; one never used, since its creation."""
    idle = used_at - (last_used_at or created_at)
    if idle < dormant:
        return None
    before = "was last used" if last_used_at else "had never been used, and was made"
    return f"Used at {used_at:%Y-%m-%dT%H:%MZ}; it {before} {idle.days} days before."


def denials_spiked(day: date, denied: int, before: Sequence[int]) -> str | None:
    """Tell of a day with many more denials than are usual for the key.

    `before` holds those of the seven days before, as far as there were any. What is usual is their median,
    days without any included: unlike a mean, one bad day does not hide the next, and what goes on for four
    days is usual.
    """
    usual = median([*before, *[0] * (SPIKE_DAYS - len(before))])
    if denied < SPIKE_DENIALS or denied < SPIKE_TIMES * usual:
        return None
    return f"{denied} requests were denied on {day}; {usual:g} are usual (median of {SPIKE_DAYS} days)."
