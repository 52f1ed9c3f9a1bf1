"""Buckets in memory: they go on from what Redis said, and remember what it does not know."""

import pytest

from quarry_gateway.limits.gcra import SECOND, Limit
from quarry_gateway.limits.ledger import Ledger

TEN = Limit(10, 10)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger(clock=clock)


def passes(ledger: Ledger, name: str = "a", cost: int = 1) -> bool:
    return ledger.charge([name], [TEN], cost)[0]


def test_a_bucket_is_paid_off_in_time(ledger: Ledger, clock: Clock) -> None:
    assert [passes(ledger) for _ in range(11)] == [True] * 10 + [False]

    clock.now += 0.2
    assert [passes(ledger) for _ in range(3)] == [True, True, False]


def test_buckets_are_apart(ledger: Ledger) -> None:
    assert passes(ledger, "a", 10)

    assert not passes(ledger, "a")
    assert passes(ledger, "b")


def test_it_goes_on_from_what_redis_said(ledger: Ledger, clock: Clock) -> None:
    asked_at = ledger.now()
    clock.now += 0.1
    ledger.follow(["a"], [8 * SECOND // 10], asked_at, 1)

    assert [passes(ledger) for _ in range(4)] == [True, True, True, False]


def test_what_was_charged_here_is_owed_to_redis_once(ledger: Ledger, clock: Clock) -> None:
    passes(ledger, "a", 5)
    clock.now += 0.1
    assert ledger.owed(["a", "b"], 1) == [4 * SECOND // 10, 0]

    ledger.follow(["a"], [SECOND // 2], ledger.now(), 1)
    assert ledger.owed(["a"], 1) == [0]


def test_what_redis_knew_is_owed_to_the_redis_that_comes_next(ledger: Ledger) -> None:
    ledger.follow(["a"], [SECOND], ledger.now(), 1)

    assert ledger.owed(["a"], 2) == [SECOND]


def test_what_is_paid_is_not_owed(ledger: Ledger, clock: Clock) -> None:
    passes(ledger, "a", 5)
    clock.now += 1

    assert ledger.owed(["a"], 1) == [0]


def test_a_late_answer_takes_nothing_back(ledger: Ledger) -> None:
    ledger.follow(["a"], [SECOND], ledger.now(), 1)
    ledger.follow(["a"], [SECOND // 2], ledger.now(), 1)

    assert not passes(ledger)


def test_the_least_recently_used_bucket_makes_room(clock: Clock) -> None:
    ledger = Ledger(2, clock=clock)
    for name in ("a", "b", "c"):
        passes(ledger, name, 10)

    assert not passes(ledger, "c")
    assert not passes(ledger, "b")
    assert passes(ledger, "a")
