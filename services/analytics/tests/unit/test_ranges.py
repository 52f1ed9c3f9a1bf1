"""Time is cut without gaps and without overlaps."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_analytics.domain.ranges import LENGTHS, Interval, Level, intervals, tiles, zone_of
from quarry_common.contracts.analytics import MAX_BUCKETS
from quarry_common.errors import ValidationError

moments = st.integers(0, 730 * 86_400).map(
    lambda seconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
zones = st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Apia", "Africa/Cairo"])


@given(
    start=moments, seconds=st.integers(0, 40 * 86_400), levels=st.sampled_from([tuple(Level), (Level.DAY,)])
)
def test_tiles_make_up_the_range(start: datetime, seconds: int, levels: tuple[Level, ...]) -> None:
    end = start + timedelta(seconds=seconds)

    found = sorted(tiles(start, end, levels), key=lambda tile: tile.start)

    if found:
        assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == following.start for one, following in pairwise(found))
    for tile in found:
        if tile.level is None:
            assert tile.end - tile.start < 2 * LENGTHS[levels[0]]
            continue
        length = LENGTHS[tile.level]
        assert (tile.start - datetime(1970, 1, 1, tzinfo=UTC)) % length == timedelta()
        assert (tile.end - tile.start) % length == timedelta()


def test_a_day_has_23_or_25_hours_where_clocks_change() -> None:
    berlin = zone_of("Europe/Berlin")

    spring = intervals(datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC), 24, berlin)
    autumn = intervals(datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC), 24, berlin)

    assert [_hours(each) for each in spring] == [24, 23, 24, 24]
    assert [_hours(each) for each in autumn] == [24, 25, 24, 24]


def test_intervals_of_hours_begin_anew_at_local_midnight() -> None:
    start, end = datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)

    found = intervals(start, end, 6, zone_of("Europe/Berlin"))

    assert [_hours(each) for each in found] == [6, 6, 6, 6, 1]


@given(start=moments, days=st.integers(1, 30), hours=st.sampled_from([1, 5, 24, 48, 168]), name=zones)
def test_intervals_leave_nothing_out(start: datetime, days: int, hours: int, name: str) -> None:
    end = start + timedelta(days=days)

    found = intervals(start, end, hours, zone_of(name))

    assert found[0].start <= start
    assert found[-1].end >= end
    assert all(one.end == following.start for one, following in pairwise(found))
    assert all(each.start < each.end for each in found)


def test_too_many_intervals_and_unknown_zones_are_refused() -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    with pytest.raises(ValidationError, match="too many"):
        intervals(start, start + timedelta(hours=MAX_BUCKETS + 1), 1, zone_of("UTC"))
    for name in ("Mars/Phobos", "Europe", "", "../etc/passwd", "\0"):
        with pytest.raises(ValidationError, match="time zone"):
            zone_of(name)


def _hours(interval: Interval) -> float:
    return (interval.end - interval.start) / timedelta(hours=1)
