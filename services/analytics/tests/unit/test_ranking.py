"""Adding up queries in columns does what adding them up one by one does."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from quarry_analytics.domain.distinct import Distinct
from quarry_analytics.domain.ranking import (
    Column,
    Counted,
    RankedBy,
    Ranks,
    first,
    last_times,
    leading,
    place_of,
)
from quarry_analytics.domain.texts import hash_of

BEGIN = datetime(2027, 1, 31, 9, 30, 0, 123457, tzinfo=UTC)
HASHES = [hash_of(f"query {number}") for number in range(300)]


def day(rng: random.Random, number: int) -> list[tuple[int, Counted]]:
    """Return what some of the queries came to on a day."""
    return [
        (
            query,
            Counted(
                rng.randrange(1, 5),
                rng.randrange(3),
                rng.randrange(2),
                BEGIN + timedelta(days=number, microseconds=rng.randrange(3)),
            ),
        )
        for query in rng.sample(HASHES, 120)
    ]


@pytest.mark.parametrize("by", list(RankedBy))
@pytest.mark.parametrize("limit", [1, 10, 1_000])
def test_the_first_are_those_with_most_and_of_equal_ones_those_seen_last(by: RankedBy, limit: int) -> None:
    rng = random.Random(3)
    days = [day(rng, number) for number in range(20)]
    sums: Counter[int] = Counter()
    last: dict[int, datetime] = {}
    for query, each in (found for one in days for found in one):
        sums[query] += getattr(each, by.value)
        last[query] = max(last.get(query, BEGIN), each.last_seen)
    sums = +sums
    expected = sorted(sums, key=lambda query: (-sums[query], -last[query].timestamp(), query))[:limit]

    counts, times = [], []
    for one in days:
        hashes, ranks, width = Distinct(), Ranks(one).encode(), 4 * len(one)
        for query, _ in one:
            hashes.add(query)
        at = place_of(by) * width
        counts.append(Column.stored_counts(hashes.encode(), ranks[at : at + width]))
        times.append(Column.stored_times(hashes.encode(), ranks[3 * width :]))
    sums_found = leading(counts, limit)

    assert {query: sums[query] for query in sums_found} == sums_found
    assert first(sums_found, last_times(times, sums_found), limit) == expected


def test_every_query_that_equals_the_last_is_among_the_leading() -> None:
    part = Ranks((query, Counted(1 + (query == 7), 0, 0, BEGIN)) for query in range(20)).counts

    assert leading([part[RankedBy.SEARCHES]], 1) == {7: 2}
    assert leading([part[RankedBy.SEARCHES]], 2) == {query: 1 + (query == 7) for query in range(20)}


def test_nothing_comes_first_of_nothing() -> None:
    assert leading([], 10) == {}
    assert leading([Ranks([]).counts[RankedBy.SEARCHES]], 10) == {}
    assert leading([Ranks([(1, Counted(3, 0, 0, BEGIN))]).counts[RankedBy.NO_RESULTS]], 10) == {}
    assert last_times([Ranks([]).times], [1]) == {}
    assert first({}, {}, 10) == []


def test_hashes_are_counted_once_and_come_back_as_they_were_stored() -> None:
    whole = Distinct()
    for start in range(0, 300, 100):
        part = Distinct(Distinct().encode())
        for query in HASHES[max(start - 50, 0) : start + 100]:
            part.add(query)
        whole.merge(Distinct(part.encode()))
        whole.add(HASHES[0])

    assert len(whole) == 300
    assert whole.values().tolist() == sorted(HASHES)
    assert Distinct(whole.encode()).values().tolist() == sorted(HASHES)
    assert (len(Distinct()), Distinct().encode()) == (0, b"")
