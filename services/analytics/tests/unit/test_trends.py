"""A trend is more than chance, more than the time of the week, and more than everything growing."""

import random

from quarry_analytics.domain.trends import Observed, trending

WEEKS = 8


def weeks(rng: random.Random, mean: float) -> list[int]:
    """Return counts of a query in the window and the weeks before, which vary as real ones do."""
    return [int(rng.gammavariate(8, mean / 8) + rng.random()) for _ in range(WEEKS + 1)]


def totals(rows: list[list[int]]) -> list[int]:
    return [sum(row[week] for row in rows) for week in range(WEEKS + 1)]


def found(rows: list[list[int]], clients: int = 50) -> list[int]:
    observed = [Observed(number, row[0], clients, row[1:]) for number, row in enumerate(rows)]
    return [each.observed.query_hash for each in trending(observed, totals(rows))[1]]


def test_what_is_searched_as_always_is_no_trend() -> None:
    rng = random.Random(1)
    false = sum(len(found([weeks(rng, rng.choice((5, 20, 80))) for _ in range(300)])) for _ in range(20))

    assert false <= 1


def test_planted_trends_are_found_the_strongest_first() -> None:
    rng = random.Random(2)
    rows = [weeks(rng, 20) for _ in range(300)]
    rows[7][0], rows[8][0], rows[9] = 200, 400, [60, *[0] * WEEKS]

    assert set(found(rows)) == {7, 8, 9}


def test_that_everything_grows_is_no_trend() -> None:
    rng = random.Random(3)
    rows = [weeks(rng, 40) for _ in range(200)]
    grown = [[row[0] * 2, *row[1:]] for row in rows]

    assert found(grown) == []


def test_one_client_alone_and_a_handful_of_searches_are_no_trend() -> None:
    rng = random.Random(4)
    rows = [weeks(rng, 20) for _ in range(100)]
    rows[5] = [500, *[1] * WEEKS]

    assert found(rows, clients=2) == []
    assert found([*rows[:5], [9, *[0] * WEEKS]], clients=9) == []


def test_without_weeks_before_nothing_can_be_said() -> None:
    assert trending([Observed(1, 100, 50, [])], [100, *[0] * WEEKS]) == (0, [])
