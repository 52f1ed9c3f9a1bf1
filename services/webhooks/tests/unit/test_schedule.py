from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from quarry_webhooks.domain import schedule
from quarry_webhooks.domain.schedule import DELAYS_SECONDS, delay, retry_after

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_there_are_ten_attempts_over_three_days() -> None:
    assert DELAYS_SECONDS == (
        0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
    )  # fmt: skip
    assert timedelta(seconds=sum(DELAYS_SECONDS)) == timedelta(days=3, hours=3, minutes=35, seconds=5)


@pytest.mark.parametrize("step", range(10))
def test_a_delay_is_longer_by_a_tenth_at_most(step: int) -> None:
    found = [delay(step) for _ in range(200)]

    least = timedelta(seconds=DELAYS_SECONDS[step])
    assert all(each is not None and least <= each <= least * 1.1 for each in found)
    assert step == 0 or len(set(found)) > 1


def test_after_the_last_attempt_there_is_none() -> None:
    assert delay(10) is None
    assert delay(2, (0.0, 1.0)) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999999999", 86_400),
        ("172800", 86_400),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 86_400),
        ("Wed, 04 Mar 2026 06:06:07 -0000", 3_600),
    ],
)
def test_an_endpoint_may_ask_for_patience(value: str, seconds: int) -> None:
    for status in (429, 503):
        assert retry_after(status, {"Retry-After": value}, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", "0", "-5", "1.5", "soon", "٣", format_datetime(NOW - timedelta(days=1), usegmt=True)]
)
def test_what_is_past_or_malformed_is_no_wish(value: str) -> None:
    assert retry_after(429, {"retry-after": value}, NOW) is None


@pytest.mark.parametrize("status", [None, 200, 301, 500, 502])
def test_only_429_and_503_are_heard(status: int | None) -> None:
    assert retry_after(status, {"retry-after": "60"}, NOW) is None


def test_no_header_is_no_wish() -> None:
    assert retry_after(429, {}, NOW) is None
    assert timedelta(hours=24) == schedule.LONGEST_RETRY_AFTER
