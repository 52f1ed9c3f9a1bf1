"""What the headers of a refusal say about when to come back."""

import pytest

from quarry_common.embedding.hints import reset_seconds, retry_after_seconds

THEN = "Wed, 21 Oct 2026 07:28:30 GMT"
NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "20", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": THEN, "date": NOW}, 30),
        ({"retry-after": NOW, "date": THEN}, 0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


def test_a_date_without_another_counts_from_now() -> None:
    wait = retry_after_seconds({"retry-after": "Wed, 21 Oct 2099 07:28:30 GMT"})
    assert wait is not None
    assert wait > 1e9 / 10


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12ms", 0.012),
        ("1s", 1),
        ("1.5s", 1.5),
        ("2", 2),
        ("59s999ms", 59.999),
        ("6m0s", 60),
        ("1h", 60),
        ("", None),
        ("1x", None),
        ("s", None),
    ],
)
def test_a_reset_is_a_duration_of_a_minute_at_most(value: str, seconds: float | None) -> None:
    assert reset_seconds({"x-ratelimit-reset-tokens": value}) == pytest.approx(seconds)


def test_only_the_reset_of_what_is_used_up_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "10",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert reset_seconds(headers) == 2
