"""Bounded values in memory: who makes room, when they end, who hears of it."""

import pytest

from quarry_common.cache.lru import Lru


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_value_ends_with_its_time(clock: Clock) -> None:
    values: Lru[str, int] = Lru(10, clock=clock)
    assert values.set("a", 1, expires_at=5)

    clock.now = 4.9
    assert values.get("a") == 1
    clock.now = 5
    assert values.get("a") is None
    assert len(values) == 0


def test_what_has_ended_already_takes_the_place_of_nothing_and_removes_what_was_there(clock: Clock) -> None:
    values: Lru[str, int] = Lru(10, clock=clock)
    values.set("a", 1, expires_at=5)

    assert not values.set("a", 2, expires_at=0)
    assert values.get("a") is None


def test_the_least_recently_used_make_room(clock: Clock) -> None:
    values: Lru[int, int] = Lru(3, clock=clock)
    for number in range(3):
        values.set(number, number, expires_at=5)
    values.get(0)
    for number in range(3, 5):
        values.set(number, number, expires_at=5)

    assert [values.get(number) for number in range(5)] == [0, None, None, 3, 4]
    assert values.evictions == 2


def test_who_keeps_them_hears_of_each_that_goes_and_why(clock: Clock) -> None:
    gone: list[tuple[str, int, bool]] = []
    values: Lru[str, int] = Lru(10, 10, gone=lambda *each: gone.append(each), clock=clock)
    values.set("old", 1, expires_at=5, size=6)
    values.set("large", 2, expires_at=5, size=7)
    values.set("small", 3, expires_at=1, size=1)
    clock.now = 1
    values.get("small")
    values.remove("large")

    assert gone == [("old", 6, True), ("small", 1, False), ("large", 7, False)]
    assert (values.size_bytes, values.evictions) == (0, 1)


def test_matching_values_are_dropped(clock: Clock) -> None:
    values: Lru[int, int] = Lru(10, clock=clock)
    for number in range(4):
        values.set(number, number, expires_at=5)

    assert values.drop(lambda value: value % 2 == 0) == 2
    assert [values.get(number) for number in range(4)] == [None, 1, None, 3]
    assert values.clear() == 2
