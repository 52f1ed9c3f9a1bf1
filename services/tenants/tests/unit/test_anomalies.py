"""What is unusual in the use of a key."""

from datetime import UTC, date, datetime, timedelta

import pytest

from quarry_tenants.domain.anomalies import denials_spiked, dormant_key_used

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DORMANT = timedelta(days=30)
LONG_AGO = NOW - timedelta(days=400)
MOMENT = timedelta(microseconds=1)
DAY = date(2026, 11, 1)


@pytest.mark.parametrize(
    ("created_at", "last_used_at", "wakes"),
    [
        (LONG_AGO, NOW - DORMANT, True),
        (LONG_AGO, NOW - DORMANT + MOMENT, False),
        (NOW - DORMANT, None, True),
        (NOW - DORMANT + MOMENT, None, False),
        (LONG_AGO, NOW + DORMANT, False),  # told of late: it was used since
    ],
)
def test_a_key_wakes_after_its_dormancy(
    created_at: datetime, last_used_at: datetime | None, wakes: bool
) -> None:
    assert bool(dormant_key_used(created_at, last_used_at, NOW, DORMANT)) is wakes


def test_it_is_told_how_long_the_key_was_not_used() -> None:
    assert dormant_key_used(LONG_AGO, NOW - timedelta(days=45), NOW, DORMANT) == (
        "Used at 2026-11-01T12:00Z; it was last used 45 days before."
    )
    assert dormant_key_used(LONG_AGO, None, NOW, DORMANT) == (
        "Used at 2026-11-01T12:00Z; it had never been used, and was made 400 days before."
    )


@pytest.mark.parametrize(
    ("denied", "before", "spikes"),
    [
        (19, [], False),
        (20, [], True),
        (20, [4] * 7, True),
        (20, [5] * 7, False),
        (24, [5] * 7, False),
        (25, [5] * 7, True),
        # One bad day, or three, do not hide the next.
        (50, [1_000, 2, 2, 2, 2, 2, 2], True),
        (50, [1_000, 1_000, 1_000, 2, 2, 2, 2], True),
        # What goes on for four days is usual.
        (50, [50, 50, 50, 50], False),
        (50, [50, 50, 50], True),
        # A key that is always denied much is denied more than usual at five times as much.
        (4_999, [1_000] * 7, False),
        (5_000, [1_000] * 7, True),
    ],
)
def test_a_spike_is_twenty_denials_and_five_times_the_median(
    denied: int, before: list[int], spikes: bool
) -> None:
    assert bool(denials_spiked(DAY, denied, before)) is spikes


def test_a_spike_is_told_with_what_is_usual() -> None:
    assert denials_spiked(DAY, 31, [3] * 5) == (
        "31 requests were denied on 2026-11-01; 3 are usual (median of 7 days)."
    )
