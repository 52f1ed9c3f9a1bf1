"""Which changes of dependencies' health are told: rules without I/O.

Several gateways watch the same dependencies, and each change is told once. What was told of a check is a
chain: the id of the next event is made from the one before it, so that gateways which see the same change at
the same time tell the same event, and JetStream keeps one.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec
from prometheus_client import Counter

from quarry_common.contracts.events import HealthCheckFailed, HealthRecovered
from quarry_common.health import CheckResult
from quarry_common.ids import NAMESPACE

HealthEvent = HealthCheckFailed | HealthRecovered

FAILED_IN_A_ROW: Final = 2
WELL_IN_A_ROW: Final = 4
"""Checks after which a gateway tells that something is well which it has not seen failing itself: whoever did
may be gone."""
MAX_WAITING: Final = 100

LOST = Counter("health_changes_lost_total", "Changes of health that could not be told: too many waited.")


class Told(msgspec.Struct, frozen=True):
    """The last that was told of a check."""

    event_id: UUID
    event: HealthEvent


class _Seen(msgspec.Struct):
    """What this gateway sees of a check."""

    failed_in_a_row: int = 0
    failing_since: datetime | None = None
    detail: str = ""
    own_failure: bool = False
    """Whether this gateway has found it failing, and not well since."""
    well_in_a_row: int = 0
    """Since the last that was told of it."""


class HealthChanges:
    """What was told, what this gateway sees, and what it has to tell."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}
        self._seen: dict[str, _Seen] = {}
        self._waiting: deque[HealthEvent] = deque()

    def see(self, results: Mapping[str, CheckResult], now: datetime) -> None:
        """Take in one round of checks."""
        for check, result in results.items():
            seen = self._seen.setdefault(check, _Seen())
            change = self._well(check, seen, now) if result.ok else _bad(check, seen, result.detail, now)
            if change is not None:
                self._wait(change)

    def _well(self, check: str, seen: _Seen, now: datetime) -> HealthEvent | None:
        seen.failed_in_a_row = 0
        seen.well_in_a_row += 1
        mine, seen.own_failure = seen.own_failure, False
        if mine:
            return HealthRecovered(check, seen.detail, now)
        told = self._told.get(check)
        if told is None or isinstance(told.event, HealthRecovered) or seen.well_in_a_row != WELL_IN_A_ROW:
            return None
        return HealthRecovered(check, told.event.detail, now)

    def _wait(self, change: HealthEvent) -> None:
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            LOST.inc()
        self._waiting.append(change)

    def heard(self, event_id: UUID, event: HealthEvent) -> None:
        """Take in what some gateway has told, in the stream's order."""
        self._told[event.check] = Told(event_id, event)
        self._seen.setdefault(event.check, _Seen()).well_in_a_row = 0

    def to_tell(self) -> Iterator[tuple[UUID, HealthEvent]]:
        """Yield what has to be told, with its id, in order. Each counts as told when the next is asked for;
        when that does not happen, it waits still.

        Left out is what was told already, by whomever: the state is the same, or a later change was told.
        """
        while self._waiting:
            change = self._waiting[0]
            told = self._told.get(change.check)
            if _is_news(change, told):
                event_id = _next_id(change, told)
                yield event_id, change
                self.heard(event_id, change)
            self._waiting.popleft()


def _bad(check: str, seen: _Seen, detail: str, now: datetime) -> HealthEvent | None:
    seen.well_in_a_row = 0
    seen.failed_in_a_row += 1
    seen.detail = detail
    if seen.failed_in_a_row == 1:
        seen.failing_since = now
    if seen.failed_in_a_row != FAILED_IN_A_ROW or seen.failing_since is None:
        return None
    seen.own_failure = True
    return HealthCheckFailed(check, detail, seen.failing_since)


def _is_news(change: HealthEvent, told: Told | None) -> bool:
    if told is None:
        return isinstance(change, HealthCheckFailed)
    return type(change) is not type(told.event) and change.since > told.event.since


def _next_id(change: HealthEvent, told: Told | None) -> UUID:
    before = str(told.event_id) if told else ""
    return uuid5(NAMESPACE, f"{change.type}\0{change.check}\0{before}")
