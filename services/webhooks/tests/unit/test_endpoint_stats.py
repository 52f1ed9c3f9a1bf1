from datetime import UTC, datetime, timedelta

import pytest

from quarry_webhooks.domain.stats import Hour, percentile, summed

HOUR = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_percentiles_come_from_counts_by_duration() -> None:
    answers = {10: 90, 50: 10}

    assert percentile(answers, 0.5) == pytest.approx(1.1**10, abs=0.01)
    assert percentile(answers, 0.95) == pytest.approx(1.1**50, abs=0.01)
    assert percentile({}, 0.5) is None


def test_the_total_is_the_sum_of_the_hours() -> None:
    hours = [Hour(HOUR, 3, 1, {10: 4}), Hour(HOUR + timedelta(hours=1), 5, 0, {10: 4, 20: 1})]

    stats = summed(HOUR, hours)

    assert (stats.total.attempts, stats.total.delivered, stats.total.failed) == (9, 8, 1)
    assert stats.total.success_rate == pytest.approx(8 / 9, abs=1e-6)
    assert [hour.success_rate for hour in stats.hours] == [0.75, 1.0]


def test_where_nothing_was_done_there_is_no_rate() -> None:
    total = summed(HOUR, []).total

    assert (total.attempts, total.success_rate, total.p50_ms, total.p95_ms) == (0, None, None, None)
