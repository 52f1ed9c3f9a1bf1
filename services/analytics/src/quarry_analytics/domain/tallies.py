"""Adding searches up: the same sums whether they come from single searches or from rollups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from quarry_analytics.domain.distinct import Distinct
from quarry_analytics.domain.ranking import Counted
from quarry_analytics.domain.sketches import Sketch
from quarry_common.contracts.analytics import Engagement, Figures, QueryFigures
from quarry_common.contracts.search import SearchMode

RANKS: Final = (0.5, 0.95, 0.99)


@dataclass(slots=True)
class Row:
    """A recorded search as figures see it."""

    query_id: UUID
    occurred_at: datetime
    query: str
    query_hash: int
    mode: str
    collection: str
    total: int
    low_confidence: bool
    duration_ms: float
    cached: bool
    user_hash: int | None
    clicks: int = 0
    """Clicks on documents of its answer."""
    position: int | None = None
    """Place of the first that was clicked, 1 the best."""


@dataclass(slots=True)
class Tally:
    """Sums over searches."""

    searches: int = 0
    results: int = 0
    no_results: int = 0
    low_confidence: int = 0
    cache_hits: int = 0
    duration_ms: float = 0.0
    durations: Sketch = field(default_factory=Sketch)
    clicks: int = 0
    clicked: int = 0
    reciprocal_ranks: float = 0.0
    collapsed: int = 0
    queries: Distinct = field(default_factory=Distinct)
    users: Distinct = field(default_factory=Distinct)
    modes: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count a search."""
        self.searches += 1
        self.results += row.total
        self.no_results += row.total == 0
        self.low_confidence += row.low_confidence
        self.cache_hits += row.cached
        self.duration_ms += row.duration_ms
        self.durations.add(row.duration_ms)
        self.clicks += row.clicks
        if row.position is not None:
            self.clicked += 1
            self.reciprocal_ranks += 1 / row.position
        self.queries.add(row.query_hash)
        if row.user_hash is not None:
            self.users.add(row.user_hash)
        self.modes[row.mode] = self.modes.get(row.mode, 0) + 1

    def merge(self, other: "Tally") -> None:
        """Count all that another tally has."""
        self.searches += other.searches
        self.results += other.results
        self.no_results += other.no_results
        self.low_confidence += other.low_confidence
        self.cache_hits += other.cache_hits
        self.duration_ms += other.duration_ms
        self.durations.merge(other.durations)
        self.clicks += other.clicks
        self.clicked += other.clicked
        self.reciprocal_ranks += other.reciprocal_ranks
        self.collapsed += other.collapsed
        self.queries.merge(other.queries)
        self.users.merge(other.users)
        for mode, count in other.modes.items():
            self.modes[mode] = self.modes.get(mode, 0) + count

    def engagement(self, *, tracked: bool) -> Engagement:
        """Return how long the searches took, and what users did; `tracked` says whether clicks are told of.

        What says nothing without clicks is null where they are not.
        """
        p50, p95, p99 = self.durations.quantiles(RANKS)
        with_results = self.searches - self.no_results
        return Engagement(
            avg_execution_time_ms=share(self.duration_ms, self.searches),
            p50_execution_time_ms=p50,
            p95_execution_time_ms=p95,
            p99_execution_time_ms=p99,
            clicks=self.clicks,
            click_through_rate=share(self.clicked, with_results) if tracked else None,
            mean_reciprocal_rank=share(self.reciprocal_ranks, self.clicked),
            abandonment_rate=share(with_results - self.clicked, with_results) if tracked else None,
        )

    def figures(self, *, tracked: bool) -> Figures:
        """Return what the searches come to."""
        return Figures(
            total_searches=self.searches,
            unique_queries=len(self.queries),
            unique_users=len(self.users),
            avg_results=share(self.results, self.searches),
            no_result_rate=share(self.no_results, self.searches),
            low_confidence_rate=share(self.low_confidence, self.searches),
            cache_hit_rate=share(self.cache_hits, self.searches),
            **msgspec.structs.asdict(self.engagement(tracked=tracked)),
            modes=by_mode(self.modes),
            favorite_search_type=favorite(self.modes),
        )


@dataclass(slots=True)
class QueryTally:
    """Sums over searches of one query."""

    tally: Tally = field(default_factory=Tally)
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    query: str = ""

    def add(self, row: Row) -> None:
        """Count a search."""
        self.tally.add(row)
        self.seen(row.occurred_at, row.occurred_at, row.query)

    def merge(self, other: "QueryTally") -> None:
        """Count all that another tally has."""
        self.tally.merge(other.tally)
        assert other.first_seen is not None and other.last_seen is not None  # noqa: S101, PT018 - never empty
        self.seen(other.first_seen, other.last_seen, other.query)

    def seen(self, first: datetime, last: datetime, query: str) -> None:
        """Widen the time in which the query was seen; of two spellings at the same time the greater one
        stays."""
        if self.first_seen is None or first < self.first_seen:
            self.first_seen = first
        if self.last_seen is None or (last, query) > (self.last_seen, self.query):
            self.last_seen, self.query = last, query

    def counted(self) -> Counted:
        """Return what queries are ranked by."""
        assert self.last_seen is not None  # noqa: S101 - never empty
        tally = self.tally
        return Counted(tally.searches, tally.no_results, tally.low_confidence, self.last_seen)

    def figures(self, *, tracked: bool) -> QueryFigures:
        """Return how the query did."""
        assert self.first_seen is not None and self.last_seen is not None  # noqa: S101, PT018 - never empty
        tally = self.tally
        return QueryFigures(
            query=self.query,
            count=tally.searches,
            users=len(tally.users),
            avg_results=share(tally.results, tally.searches),
            no_results=tally.no_results,
            low_confidence=tally.low_confidence,
            **msgspec.structs.asdict(tally.engagement(tracked=tracked)),
            modes=by_mode(tally.modes),
            favorite_search_type=favorite(tally.modes),
            first_seen=self.first_seen,
            last_seen=self.last_seen,
        )


def share(part: float, whole: int) -> float | None:
    """Return a quotient; None of nothing."""
    return part / whole if whole else None


def by_mode(modes: Mapping[str, int]) -> dict[SearchMode, int]:
    """Return searches of each mode, of all modes."""
    return {mode: modes.get(mode.value, 0) for mode in SearchMode}


def favorite(modes: Mapping[str, int]) -> SearchMode | None:
    """Return the mode that was searched in most; of equal ones that which `SearchMode` names first."""
    if not any(modes.values()):
        return None
    return max(SearchMode, key=lambda mode: (modes.get(mode.value, 0), -list(SearchMode).index(mode)))
