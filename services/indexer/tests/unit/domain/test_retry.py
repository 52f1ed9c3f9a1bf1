from datetime import timedelta

import pytest

from quarry_common.embedding.errors import EmbedderFailedError, EmbedderLimitedError, TextRefusedError
from quarry_common.errors import RemoteError, UnavailableError, ValidationError, error_data
from quarry_indexer.domain.errors import JobAbandonedError
from quarry_indexer.domain.retry import LONGEST_DELAY_SECONDS, MAX_FAILURES, Verdict, refuse_abandoned
from quarry_indexer.domain.retry import judge as judge_in_full
from quarry_indexer.parsing.errors import (
    ParseCrashedError,
    ParseError,
    ParseOutOfMemoryError,
    ParseTimeoutError,
    UnsupportedFormatError,
)

HOUR = timedelta(hours=1)


def judge(
    error: Exception, *, attempt: int = 1, failures: int = 0, age: timedelta = HOUR, alone: bool = False
) -> Verdict:
    return judge_in_full(error, attempt=attempt, failures=failures, age=age, alone=alone)


@pytest.mark.parametrize(
    "error", [UnavailableError("away"), OSError("reset"), RemoteError(error_data(UnavailableError("away")))]
)
def test_a_dependency_that_is_away_never_counts(error: Exception) -> None:
    verdict = judge(error, attempt=50, failures=2)

    assert verdict.delay_seconds == LONGEST_DELAY_SECONDS
    assert not verdict.counts


def test_a_rate_limit_never_counts_and_is_waited_for() -> None:
    verdict = judge(EmbedderLimitedError("slowly", retry_after_seconds=17), failures=MAX_FAILURES)

    assert (verdict.delay_seconds, verdict.counts) == (17, False)


def test_an_outage_of_a_day_ends_the_job() -> None:
    assert judge(UnavailableError("away"), attempt=9, age=25 * HOUR).delay_seconds is None


@pytest.mark.parametrize("error", [ValidationError("bad"), UnsupportedFormatError("odd"), TextRefusedError()])
def test_what_is_wrong_with_the_document_is_not_tried_again(error: Exception) -> None:
    assert judge(error).delay_seconds is None


@pytest.mark.parametrize("kind", [ParseCrashedError, ParseOutOfMemoryError, ParseTimeoutError])
def test_what_killed_its_reader_is_read_once_more_alone(kind: type[ParseError]) -> None:
    first, second = judge(kind("dead")), judge(kind("dead"), alone=True)

    assert first.delay_seconds is not None
    assert first.alone
    assert second.delay_seconds is None


@pytest.mark.parametrize("error", [ZeroDivisionError(), EmbedderFailedError("500")])
def test_the_unforeseen_and_a_failing_embedder_are_tried_four_times_with_growing_delay(
    error: Exception,
) -> None:
    delays = [judge(error, attempt=n + 1, failures=n).delay_seconds for n in range(MAX_FAILURES)]

    assert delays == [0.5, 1.0, 2.0, None]


def test_the_unforeseen_tells_nothing_of_its_inside() -> None:
    assert "secret" not in judge(RuntimeError("password=secret")).error.detail


def test_a_job_whose_workers_keep_dying_ends() -> None:
    refuse_abandoned(10)
    with pytest.raises(JobAbandonedError):
        refuse_abandoned(11)
