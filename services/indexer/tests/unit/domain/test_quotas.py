"""What fits into a quota, and what is told of it."""

import pytest

from quarry_common.contracts.documents import Room
from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import Quota
from quarry_indexer.domain.quotas import Told, Usage, exceeded, fallen, tell

DOCUMENTS, STORAGE = Quota.DOCUMENTS, Quota.STORAGE
TEN = Room(documents=10)


@pytest.mark.parametrize(
    ("growth", "quota"),
    [
        (Usage(1, 0), None),
        (Usage(2, 0), DOCUMENTS),
        (Usage(0, 10), None),
        (Usage(0, 11), STORAGE),
        (Usage(2, 11), DOCUMENTS),
    ],
)
def test_the_limit_itself_can_be_reached(growth: Usage, quota: Quota | None) -> None:
    assert exceeded(Usage(9, 90), growth, Room(10, 100)) == quota


@pytest.mark.parametrize("growth", [Usage(0, 0), Usage(0, -5)])
def test_what_does_not_grow_fits_beyond_the_limit(growth: Usage) -> None:
    assert exceeded(Usage(20, 200), growth, Room(10, 100)) is None


def test_without_a_limit_everything_fits() -> None:
    assert exceeded(Usage(10**12, 10**18), Usage(1, 1), Room()) is None


def test_the_threshold_is_told_at_eighty_percent() -> None:
    assert tell({}, Usage(7), TEN) == ({}, [])
    assert tell({}, Usage(8), TEN) == (
        {DOCUMENTS: Told(10, threshold=True)},
        [QuotaThresholdReached(DOCUMENTS, 10, 8, 80)],
    )


def test_a_full_quota_is_exceeded() -> None:
    told, events = tell({DOCUMENTS: Told(10, threshold=True)}, Usage(10), TEN)

    assert events == [QuotaExceeded(DOCUMENTS, 10, 10)]
    assert told == {DOCUMENTS: Told(10, threshold=True, exceeded=True)}


def test_a_small_quota_passes_both_at_once() -> None:
    _, events = tell({}, Usage(1), Room(documents=1))

    assert events == [QuotaThresholdReached(DOCUMENTS, 1, 1, 80), QuotaExceeded(DOCUMENTS, 1, 1)]


def test_a_quota_for_which_something_was_refused_is_exceeded_before_it_is_full() -> None:
    told, events = tell({}, Usage(1, 70), Room(storage_bytes=100), {STORAGE})

    assert events == [QuotaExceeded(STORAGE, 100, 70)]
    assert told == {STORAGE: Told(100, exceeded=True)}


def test_what_was_told_is_not_told_again() -> None:
    told = {DOCUMENTS: Told(10, threshold=True, exceeded=True)}

    assert tell(told, Usage(10), TEN, {DOCUMENTS}) == (told, [])


def test_a_limit_that_is_lowered_tells_nothing_twice() -> None:
    told, events = tell({DOCUMENTS: Told(10, threshold=True)}, Usage(8), Room(documents=9))

    assert (told, events) == ({DOCUMENTS: Told(9, threshold=True)}, [])


def test_a_limit_that_is_raised_is_told_of_anew() -> None:
    told, events = tell({DOCUMENTS: Told(10, True, True)}, Usage(10), Room(documents=12))

    assert events == [QuotaThresholdReached(DOCUMENTS, 12, 10, 80)]
    assert told == {DOCUMENTS: Told(12, threshold=True)}


def test_a_limit_that_is_lifted_is_forgotten() -> None:
    assert tell({DOCUMENTS: Told(10, True, True)}, Usage(10), Room()) == ({}, [])


@pytest.mark.parametrize(
    ("used", "growth", "kept"),
    [
        (Usage(8, 0), Usage(-1, 0), True),
        (Usage(7, 0), Usage(-1, 0), False),
        (Usage(7, 0), Usage(0, -1), True),
        (Usage(7, 0), Usage(1, 0), True),
    ],
)
def test_what_was_told_is_forgotten_when_use_falls_below_the_threshold(
    used: Usage, growth: Usage, kept: bool
) -> None:
    told = {DOCUMENTS: Told(10, threshold=True)}

    assert fallen(told, used, growth) == (told if kept else {})


def test_no_use_of_no_room_reaches_no_threshold() -> None:
    told, events = tell({}, Usage(), Room(documents=0), {DOCUMENTS})

    assert events == [QuotaExceeded(DOCUMENTS, 0, 0)]
    assert told == {DOCUMENTS: Told(0, exceeded=True)}
