"""How long to wait before a request is sent again."""

from datetime import UTC, datetime

import pytest

from quarry_client.retry import PATIENT, RetryPolicy, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_waits_double_up_to_the_longest_with_jitter() -> None:
    policy = RetryPolicy(attempts=10, first_delay_seconds=1, longest_delay_seconds=4, budget_seconds=100)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 4)):
        delays = [policy.delay_seconds(failures, 0, None) for _ in range(100)]
        assert all(delay is not None and longest / 2 <= delay <= longest for delay in delays)
        assert len(set(delays)) > 1


def test_it_stops_after_the_attempts_and_when_the_budget_is_spent() -> None:
    policy = RetryPolicy(attempts=3, first_delay_seconds=1, budget_seconds=10)
    assert policy.delay_seconds(2, 0, None) is not None
    assert policy.delay_seconds(3, 0, None) is None
    assert policy.delay_seconds(1, 9.9, None) is None


def test_a_long_policy_always_ends() -> None:
    waited = 0.0
    for failures in range(1, PATIENT.attempts + 1):
        delay = PATIENT.delay_seconds(failures, waited, None)
        if delay is None:
            break
        waited += delay
    else:
        pytest.fail("it would go on")
    assert 20 < waited <= PATIENT.budget_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0", 0.0),
        (" 2 ", 2.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_a_server_is_not_asked_before_the_time_it_named() -> None:
    policy = RetryPolicy(first_delay_seconds=0.1)
    delay = policy.delay_seconds(1, 0, 5.0)
    assert delay is not None
    assert 5.0 <= delay <= 5.1
