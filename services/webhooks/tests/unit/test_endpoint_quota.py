import pytest

from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import Quota
from quarry_common.errors import QuotaExceededError
from quarry_webhooks.domain.quotas import Told, fallen, require_room, tell


def test_the_limit_itself_can_be_reached() -> None:
    require_room(4, 5)
    require_room(1_000, None)
    with pytest.raises(QuotaExceededError, match="`webhooks` is 5"):
        require_room(5, 5)


def test_the_threshold_and_the_limit_are_told_once_each() -> None:
    told, first = tell(None, 3, 5)
    told, second = tell(told, 4, 5)
    told, third = tell(told, 5, 5)
    told, fourth = tell(told, 5, 5, refused=True)

    assert first == []
    assert second == [QuotaThresholdReached(Quota.WEBHOOKS, 5, 4, 80)]
    assert third == [QuotaExceeded(Quota.WEBHOOKS, 5, 5)]
    assert fourth == []


def test_a_refusal_tells_that_the_quota_is_exceeded() -> None:
    _, events = tell(None, 0, 0, refused=True)

    assert events == [QuotaExceeded(Quota.WEBHOOKS, 0, 0)]


def test_below_the_threshold_it_can_be_told_again() -> None:
    assert fallen(Told(5, threshold=True, exceeded=True), 4) is not None
    assert fallen(Told(5, threshold=True, exceeded=True), 3) is None


def test_a_raised_limit_is_told_of_anew() -> None:
    told, events = tell(Told(5, threshold=True, exceeded=True), 8, 10)

    assert (told, events) == (Told(10, threshold=True), [QuotaThresholdReached(Quota.WEBHOOKS, 10, 8, 80)])


def test_without_a_limit_nothing_is_told() -> None:
    assert tell(Told(5, exceeded=True), 100, None) == (None, [])
