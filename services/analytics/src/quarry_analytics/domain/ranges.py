"""Cutting time: ranges into what is stored of them, and into the intervals of a time zone."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from quarry_common.contracts.analytics import MAX_BUCKETS
from quarry_common.errors import FieldError, ValidationError


class Level(StrEnum):
    """Lengths of the spans that figures are stored of."""

    QUARTER = "quarter"
    HOUR = "hour"
    DAY = "day"


QUARTER: Final = timedelta(minutes=15)
LENGTHS: Final = {Level.QUARTER: QUARTER, Level.HOUR: timedelta(hours=1), Level.DAY: timedelta(days=1)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Tile(msgspec.Struct, frozen=True):
    """A part of a range: stored spans of one level, or (None) single searches."""

    level: Level | None
    start: datetime
    end: datetime


def floor(moment: datetime, length: timedelta) -> datetime:
    """Return the beginning of the span of that length, counted from 1970 UTC, that `moment` is in."""
    return _EPOCH + (moment - _EPOCH) // length * length


def ceiling(moment: datetime, length: timedelta) -> datetime:
    """Return the next beginning of a span, or `moment` where it is one."""
    below = floor(moment, length)
    return below if below == moment else below + length


def tiles(start: datetime, end: datetime, levels: Sequence[Level] = tuple(Level)) -> list[Tile]:
    """Return parts that make up the range, each of the longest spans that fit; in no certain order."""
    return list(_tiles(start, end, [None, *levels]))


def _tiles(start: datetime, end: datetime, levels: Sequence[Level | None]) -> Iterator[Tile]:
    if start >= end:
        return
    level = levels[-1]
    if level is None:
        yield Tile(None, start, end)
        return
    first, last = ceiling(start, LENGTHS[level]), floor(end, LENGTHS[level])
    if first >= last:
        yield from _tiles(start, end, levels[:-1])
        return
    yield Tile(level, first, last)
    yield from _tiles(start, first, levels[:-1])
    yield from _tiles(last, end, levels[:-1])


class Interval(msgspec.Struct, frozen=True):
    """From `start` to before `end`."""

    start: datetime
    end: datetime


def intervals(start: datetime, end: datetime, hours: int, zone: ZoneInfo) -> list[Interval]:
    """Return the intervals of so many hours that the range touches, in order and without gaps.

    Whole days go from local midnight to local midnight, however many hours those are; several days are
    counted from 1970-01-01. Other lengths are elapsed hours counted from the local midnight before, and
    the last of a day ends with it. Raises `ValidationError` when there are too many.
    """
    found = []
    for interval in _days(start, zone, hours // 24) if hours % 24 == 0 else _hours(start, zone, hours):
        if interval.start >= end:
            break
        if interval.end > start:
            found.append(interval)
        if len(found) > MAX_BUCKETS:
            message = f"makes more than {MAX_BUCKETS} intervals of the range; ask for longer ones"
            raise ValidationError(
                "There are too many intervals.", errors=[FieldError("interval_hours", message)]
            )
    return found


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # Where clocks are put forward at midnight the day begins when they have been.
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _days(start: datetime, zone: ZoneInfo, days: int) -> Iterator[Interval]:
    local = start.astimezone(zone).date()
    day = local - timedelta(days=(local - _EPOCH.date()).days % days)
    while True:
        following = day + timedelta(days=days)
        yield Interval(_midnight(day, zone), _midnight(following, zone))
        day = following


def _hours(start: datetime, zone: ZoneInfo, hours: int) -> Iterator[Interval]:
    day = start.astimezone(zone).date()
    while True:
        following = day + timedelta(days=1)
        begin, over = _midnight(day, zone), _midnight(following, zone)
        while begin < over:
            end = min(begin + timedelta(hours=hours), over)
            yield Interval(begin, end)
            begin = end
        day = following


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises `ValidationError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        message = "must be the name of a time zone, such as Europe/Berlin"
        raise ValidationError("The time zone is not known.", errors=[FieldError("tz", message)]) from None
