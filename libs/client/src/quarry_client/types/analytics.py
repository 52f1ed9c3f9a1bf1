"""What was searched, found and clicked."""

from datetime import datetime
from typing import Final, Literal

import msgspec

TableName = Literal["csv", "ndjson"]
TABLES: Final[tuple[TableName, ...]] = ("csv", "ndjson")


class _Measured(msgspec.Struct, frozen=True, kw_only=True):
    avg_execution_time_ms: float | None
    p50_execution_time_ms: float | None
    p95_execution_time_ms: float | None
    p99_execution_time_ms: float | None
    clicks: int
    click_through_rate: float | None
    mean_reciprocal_rank: float | None
    abandonment_rate: float | None
    avg_results: float | None
    modes: dict[str, int]
    favorite_search_type: str | None


class QueryFigures(_Measured, frozen=True, kw_only=True):
    """A query and how it did; what cannot be said is None."""

    query: str
    count: int
    users: int
    no_results: int
    low_confidence: int
    first_seen: datetime
    last_seen: datetime


class QueryList(msgspec.Struct, frozen=True):
    """Queries, most searched first."""

    queries: list[QueryFigures]


class SearchFigures(_Measured, frozen=True, kw_only=True):
    """What the searches of a range come to."""

    total_searches: int
    unique_queries: int
    unique_users: int
    no_result_rate: float | None
    low_confidence_rate: float | None
    cache_hit_rate: float | None


class SearchStats(msgspec.Struct, frozen=True):
    """Figures, and how complete they are."""

    figures: SearchFigures
    collapsed: int
    dropped: int
    refreshed_at: datetime | None


class SearchBucket(msgspec.Struct, frozen=True):
    """The figures of one interval."""

    start: datetime
    end: datetime
    partial: bool
    figures: SearchFigures


class SearchTimeseries(msgspec.Struct, frozen=True):
    """Every interval of a range."""

    buckets: list[SearchBucket]
    refreshed_at: datetime | None


class Trend(msgspec.Struct, frozen=True):
    """A query that is searched more than was to be expected, and the evidence."""

    query: str
    observed: int
    expected: float
    ratio: float | None
    score: float
    p_value: float
    clients: int


class Trends(msgspec.Struct, frozen=True):
    """What is trending, the strongest first."""

    window_start: datetime
    window_end: datetime
    baseline_weeks: int
    examined: int
    trends: list[Trend]


class UserSearches(msgspec.Struct, frozen=True):
    """What one user searched."""

    user_id: str
    figures: SearchFigures
    first_seen: datetime
    last_seen: datetime
    queries: list[QueryFigures]


class ForgottenUser(msgspec.Struct, frozen=True):
    """What was deleted of a user."""

    searches: int
    interactions: int
