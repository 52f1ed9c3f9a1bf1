from datetime import timedelta

import pytest

from quarry_common.errors import RemoteError, UnavailableError, ValidationError, error_data
from quarry_indexer.domain.errors import JobAbandonedError
from quarry_indexer.domain.retry import LONGEST_DELAY_SECONDS, judge, refuse_abandoned

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    "error", [UnavailableError("away"), OSError("reset"), RemoteError(error_data(UnavailableError("away")))]
)
def test_a_dependency_that_is_away_never_counts(error: Exception) -> None:
    verdict = judge(error, attempt=50, failures=2, age=HOUR)

    assert verdict.delay_seconds == LONGEST_DELAY_SECONDS
    assert not verdict.counts


def test_an_outage_of_a_day_ends_the_job() -> None:
    assert judge(UnavailableError("away"), attempt=9, failures=0, age=25 * HOUR).delay_seconds is None


def test_what_is_wrong_with_the_document_is_not_tried_again() -> None:
    verdict = judge(ValidationError("bad"), attempt=1, failures=0, age=HOUR)

    assert (verdict.delay_seconds, verdict.error.code) == (None, "validation_failed")


def test_the_unforeseen_is_tried_three_times_with_growing_delay() -> None:
    delays = [judge(ZeroDivisionError(), attempt=n + 1, failures=n, age=HOUR).delay_seconds for n in range(3)]

    assert delays == [0.5, 1.0, None]


def test_the_unforeseen_tells_nothing_of_its_inside() -> None:
    verdict = judge(RuntimeError("password=secret"), attempt=1, failures=0, age=HOUR)

    assert "secret" not in verdict.error.detail


def test_a_job_whose_workers_keep_dying_ends() -> None:
    refuse_abandoned(20)
    with pytest.raises(JobAbandonedError):
        refuse_abandoned(21)
