"""Which queries come first: what decides it is kept in columns, so that many days are added up at once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter, itemgetter
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HASH: Final = np.dtype("<i8")
_COUNT: Final = np.dtype("<i4")
_SEEN: Final = np.dtype("<i8")


class RankedBy(StrEnum):
    """What queries are ranked by."""

    SEARCHES = "searches"
    NO_RESULTS = "no_results"
    LOW_CONFIDENCE = "low_confidence"


class Counted(msgspec.Struct, frozen=True):
    """How often a query was searched in some time, and when last."""

    searches: int
    no_results: int
    low_confidence: int
    last_seen: datetime


class Column(msgspec.Struct, frozen=True):
    """Queries of some time by their sorted hashes, and beside each a number."""

    queries: NDArray[np.int64]
    numbers: NDArray[np.integer]

    @staticmethod
    def stored_counts(queries: bytes, numbers: bytes) -> "Column":
        """Return how often queries were searched, as it was stored."""
        return Column(np.frombuffer(queries, _HASH), np.frombuffer(numbers, _COUNT))

    @staticmethod
    def stored_times(queries: bytes, numbers: bytes) -> "Column":
        """Return when queries were searched last, in microseconds, as it was stored."""
        return Column(np.frombuffer(queries, _HASH), np.frombuffer(numbers, _SEEN))

    @staticmethod
    def of_counts(queries: Sequence[int], counts: Sequence[int]) -> "Column":
        """Return how often queries were searched; they are in the order of their hashes."""
        return Column(np.array(queries, _HASH), np.array(counts, _COUNT))

    @staticmethod
    def of_times(queries: Sequence[int], times: Iterable[datetime]) -> "Column":
        """Return when queries were searched last; they are in the order of their hashes."""
        since = [(moment - EPOCH) // _MICROSECOND for moment in times]
        return Column(np.array(queries, _HASH), np.array(since, _SEEN))


class Ranks:
    """Queries of some time, sorted by their hashes, and what they are ranked by."""

    def __init__(self, queries: Iterable[tuple[int, Counted]]) -> None:
        found = sorted(queries, key=itemgetter(0))
        hashes = [query for query, _ in found]
        self.counts = {
            by: Column.of_counts(hashes, list(map(attrgetter(by.value), (each for _, each in found))))
            for by in RankedBy
        }
        self.times = Column.of_times(hashes, (each.last_seen for _, each in found))

    def encode(self) -> bytes:
        """Return it as it is stored beside the hashes: counts in the order of `RankedBy`, four bytes each,
        then times of eight, each column whole."""
        columns = [*(self.counts[by] for by in RankedBy), self.times]
        return b"".join(column.numbers.tobytes() for column in columns)


def place_of(by: RankedBy) -> int:
    """Return how many columns of counts are stored before that one."""
    return list(RankedBy).index(by)


def leading(parts: Sequence[Column], limit: int) -> dict[int, int]:
    """Return the `limit` queries with the largest sums that are not zero, with those sums, and every query
    whose sum equals the least of them."""
    if not any(part.queries.size for part in parts):
        return {}
    queries = np.concatenate([part.queries for part in parts])
    counts = np.concatenate([part.numbers for part in parts])
    order = np.argsort(queries, kind="stable")  # merges parts that are sorted
    queries = queries[order]
    begins = np.flatnonzero(np.concatenate([[True], queries[1:] != queries[:-1]]))
    sums = np.add.reduceat(counts[order], begins, dtype=np.int64)
    least = max(1, int(np.partition(sums, -limit)[-limit])) if limit < sums.size else 1
    kept = np.flatnonzero(sums >= least)
    return dict(zip(queries[begins[kept]].tolist(), sums[kept].tolist(), strict=True))


def last_times(parts: Sequence[Column], queries: Iterable[int]) -> dict[int, int]:
    """Return the greatest number that each of the queries has in any part, as far as it has one."""
    wanted = np.sort(np.fromiter(queries, _HASH))
    last = np.full(wanted.size, -1, np.int64)
    for part in parts:
        if not part.queries.size:
            continue
        at = np.minimum(np.searchsorted(part.queries, wanted), part.queries.size - 1)
        there = part.queries[at] == wanted
        last[there] = np.maximum(last[there], part.numbers[at[there]])
    return {
        query: moment for query, moment in zip(wanted.tolist(), last.tolist(), strict=True) if moment >= 0
    }


def first(sums: Mapping[int, int], times: Mapping[int, int], limit: int) -> list[int]:
    """Return the queries with the largest sums; of equal ones those seen last, then those with the least
    hash."""
    return sorted(sums, key=lambda query: (-sums[query], -times.get(query, 0), query))[:limit]
