"""Which queries come first: what decides it is kept in columns, so that many days are added up at once."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_COLUMNS: Final = np.dtype(
    [("searches", "<i4"), ("no_results", "<i4"), ("low_confidence", "<i4"), ("last_seen", "<i8")]
)


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


class Ranks:
    """Queries of some time, by their hashes, each of which may come more than once."""

    def __init__(self, hashes: NDArray[np.int64], columns: NDArray[np.void]) -> None:
        self._hashes = hashes
        self._columns = columns

    @staticmethod
    def of(queries: Iterable[tuple[int, Counted]]) -> "Ranks":
        """Return those of single queries, sorted by their hashes."""
        found = sorted(queries, key=lambda each: each[0])
        columns = [
            (each.searches, each.no_results, each.low_confidence, (each.last_seen - EPOCH) // _MICROSECOND)
            for _, each in found
        ]
        return Ranks(np.array([query for query, _ in found], np.int64), np.array(columns, _COLUMNS))

    @staticmethod
    def decode(hashes: bytes, columns: bytes) -> "Ranks":
        """Return what was stored: sorted hashes, and the columns beside them."""
        return Ranks(np.frombuffer(hashes, "<i8"), np.frombuffer(columns, _COLUMNS))

    def encode(self) -> bytes:
        """Return the columns as they are stored beside the hashes."""
        return self._columns.tobytes()

    @staticmethod
    def first(parts: Sequence["Ranks"], by: RankedBy, limit: int) -> list[int]:
        """Return the queries with most of what they are ranked by, as far as they have any; of equal ones
        those seen last, then those with the least hash."""
        if not parts:
            return []
        hashes = np.concatenate([part._hashes for part in parts])
        counted = np.concatenate([part._columns[by.value] for part in parts])
        seen = np.concatenate([part._columns["last_seen"] for part in parts])
        some = counted > 0
        hashes, counted, seen = hashes[some], counted[some], seen[some]
        if not hashes.size:
            return []
        order = np.argsort(hashes, kind="stable")
        hashes, counted, seen = hashes[order], counted[order].astype(np.int64), seen[order]
        begins = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]])
        queries, sums, last = (
            hashes[begins],
            np.add.reduceat(counted, begins),
            np.maximum.reduceat(seen, begins),
        )
        best = np.lexsort((queries, -last, -sums))[:limit]
        found: list[int] = queries[best].tolist()
        return found
