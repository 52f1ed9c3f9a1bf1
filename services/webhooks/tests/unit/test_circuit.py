from datetime import UTC, datetime, timedelta

import pytest

from quarry_webhooks.domain.circuit import Health, Pace, open_for

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
FIVE_DAYS = timedelta(hours=120)
SECOND = timedelta(seconds=1)


def after(failures: int) -> Health:
    """What is after so many failures, each as soon as it may be."""
    health, now = Health(), NOW
    for _ in range(failures):
        now = max(now, health.until or now)
        health = health.failed(now)
    return health


def test_four_failures_leave_the_circuit_closed() -> None:
    assert after(4).until is None
    assert not after(4).is_probed


def test_the_fifth_in_a_row_opens_it_for_thirty_seconds() -> None:
    health = after(5)

    assert health.until is not None
    assert timedelta(seconds=30) <= health.until - NOW <= timedelta(seconds=33)
    assert health.is_open(NOW + 29 * SECOND)
    assert not health.is_open(NOW + 34 * SECOND)
    assert health.is_probed


@pytest.mark.parametrize(
    ("failures", "seconds"), [(5, 30), (6, 60), (7, 120), (8, 240), (9, 480), (10, 600), (99_999, 600)]
)
def test_it_is_open_longer_after_each_probe_that_fails(failures: int, seconds: int) -> None:
    found = {open_for(failures) for _ in range(100)}

    assert all(seconds * SECOND <= each <= seconds * 1.1 * SECOND for each in found)
    assert len(found) > 1


def test_a_failure_while_it_is_open_is_no_news() -> None:
    health = after(5)

    assert health.failed(NOW + SECOND) == health


def test_a_success_closes_it() -> None:
    assert after(7).succeeded(NOW) == Health(last_delivered_at=NOW)


def test_an_endpoint_that_asks_for_patience_is_left_alone_until_then() -> None:
    health = Health().failed(NOW, NOW + 60 * SECOND)

    assert (health.failures, health.until) == (1, NOW + 60 * SECOND)
    assert health.is_open(NOW + 59 * SECOND)
    assert not health.is_probed


def test_patience_is_added_to_an_open_circuit() -> None:
    health = after(5).failed(NOW + SECOND, NOW + timedelta(hours=1))

    assert (health.failures, health.until) == (5, NOW + timedelta(hours=1))


def test_it_fails_since_the_first_failure() -> None:
    health = Health().failed(NOW).failed(NOW + timedelta(days=2))

    assert health.failing_since == NOW
    assert not health.given_up(NOW + FIVE_DAYS - SECOND, FIVE_DAYS)
    assert health.given_up(NOW + FIVE_DAYS, FIVE_DAYS)
    assert not Health().given_up(NOW, FIVE_DAYS)


def test_its_owner_is_warned_after_a_day_and_after_four() -> None:
    warned: list[int] = []
    health = Health().failed(NOW)
    for hour in range(120):
        now = NOW + timedelta(hours=hour)
        if health.to_be_warned(now, FIVE_DAYS):
            warned.append(hour)
            health = Health(failing_since=NOW, warned_at=now)

    assert warned == [24, 96]


def test_a_pace_grows_with_successes_and_falls_when_it_is_too_much() -> None:
    pace = Pace.of(Health(), 4)
    assert pace.now == 2
    for _ in range(5):
        pace.succeeded()
    assert pace.now == 4

    pace.failed(500)
    assert pace.now == 4
    for overloaded in (429, 502, 504, None):
        pace.now = 4
        pace.failed(overloaded)
        assert pace.now == 1


def test_an_endpoint_that_fails_begins_with_one_at_a_time() -> None:
    assert Pace.of(after(1), 10).now == 1
    assert Pace.of(Health(), 1).now == 1
