"""The circuit breaker's three states."""

import pytest

from quarry_common.cache.breaker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Breaker, State


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(3, clock=clock)


def opened(breaker: Breaker) -> Breaker:
    while not breaker.failed():
        pass
    return breaker


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert breaker.state is State.OPEN


def test_an_answer_between_failures_keeps_it_closed(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_one_probe_at_a_time_and_not_before_the_pause(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    assert not breaker.begin_probe()

    clock.now += FIRST_PAUSE_SECONDS
    assert [breaker.begin_probe() for _ in range(3)] == [True, False, False]
    assert breaker.state is State.HALF_OPEN


def test_a_probe_that_is_answered_closes_it(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += FIRST_PAUSE_SECONDS
    breaker.begin_probe()
    breaker.end_probe(answered=True)

    assert breaker.state is State.CLOSED
    assert [breaker.failed() for _ in range(3)] == [False, False, True]


def test_pauses_grow_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    pauses = []
    for _ in range(8):
        pauses.append(breaker.pause_seconds)
        clock.now += breaker.pause_seconds
        assert breaker.begin_probe()
        breaker.end_probe(answered=False)

    assert breaker.state is State.OPEN
    assert pauses[0] <= FIRST_PAUSE_SECONDS
    assert pauses[1] > pauses[0]
    assert 0.8 * LONGEST_PAUSE_SECONDS <= pauses[-1] <= LONGEST_PAUSE_SECONDS


def test_late_news_of_older_calls_changes_nothing(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    breaker.succeeded()
    assert not breaker.failed()
    assert breaker.state is State.OPEN

    clock.now += FIRST_PAUSE_SECONDS
    breaker.begin_probe()
    breaker.succeeded()
    breaker.failed()
    assert breaker.state is State.HALF_OPEN
