"""What was searched, found and clicked: `rpc.v1.analytics.*`.

Ranges are from `start` (included) to `end` (not included). Averages, rates and percentiles are null where
there is nothing that they could be of. Percentiles come from sketches: ranks are right within one percent.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.purging import Purged, PurgeTenant
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.search import SearchMode

MAX_DAYS = 400
MAX_BUCKETS = 5_000
MAX_JUDGED = 1_000
"""Queries of a judged set."""
MAX_SETS = 1_000


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which searches are meant."""

    tenant_id: UUID | None
    """None is all tenants; for operators."""
    start: datetime
    end: datetime
    collection: str | None = None
    """Only searches that were limited to it."""
    mode: SearchMode | None = None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long searches took, in milliseconds."""

    avg_execution_time_ms: float | None
    p50_execution_time_ms: float | None
    p95_execution_time_ms: float | None
    p99_execution_time_ms: float | None


class Engagement(Timing, frozen=True, kw_only=True):
    """And what users did with the answers."""

    clicks: int
    click_through_rate: float | None
    """Share of searches with results of which one was clicked."""
    mean_reciprocal_rank: float | None
    """Of the first clicked result of each search that had a click; the place is that in the answer."""
    abandonment_rate: float | None
    """Share of searches with results after which nothing was clicked. Null when no click was ever told of."""


class QueryFigures(Engagement, frozen=True, kw_only=True):
    """A query, whatever its case and spaces, and how it did, without prefixes that were typed on the way."""

    query: str
    """As it was written last."""
    count: int
    users: int
    avg_results: float | None
    no_results: int
    """Searches that found nothing."""
    low_confidence: int
    modes: dict[SearchMode, int]
    favorite_search_type: SearchMode | None
    first_seen: datetime
    last_seen: datetime


class Ranked(msgspec.Struct, frozen=True):
    """Asks for queries: the most searched ones, or those that found nothing, or little."""

    selection: Selection
    limit: int = 10


class Queries(msgspec.Struct, frozen=True):
    """Queries, most searched first; of equal ones that which was searched last."""

    queries: list[QueryFigures]


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A query that is searched more than was to be expected, and the evidence."""

    query: str
    observed: int
    """Searches in the window."""
    expected: float
    """From the same hours of the weeks before."""
    ratio: float | None
    """Observed over expected; null when nothing was expected."""
    score: float
    """Standard deviations above what was to be expected."""
    p_value: float
    """That chance alone gives so many or more, after correction for looking at many queries."""
    clients: int
    """Distinct users, clients or keys that searched it in the window."""


class TrendingOf(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for what is trending in the hours before `end` against the weeks before."""

    selection: Selection
    window_hours: int = 24
    limit: int = 10


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    """What is trending, the strongest first."""

    window_start: datetime
    window_end: datetime
    baseline_weeks: int
    """How many weeks before there is something known of."""
    examined: int
    """Queries with enough support to be looked at."""
    trends: list[Trend]


class Figures(Engagement, frozen=True, kw_only=True):
    """What the searches of a range come to."""

    total_searches: int
    unique_queries: int
    unique_users: int
    avg_results: float | None
    no_result_rate: float | None
    low_confidence_rate: float | None
    cache_hit_rate: float | None
    modes: dict[SearchMode, int]
    favorite_search_type: SearchMode | None


class StatsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a range, and how complete they are."""

    figures: Figures
    collapsed: int
    """Prefixes that were typed on the way to a query; they are in no other figure."""
    dropped: int
    """Searches that were answered and not recorded, because too many came at once."""
    refreshed_at: datetime | None
    """Until when what was recorded is counted; None before anything was."""


class TimeseriesOf(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the figures of intervals in a time zone."""

    selection: Selection
    interval_hours: Annotated[int, Meta(ge=1, le=720)] = 24
    tz: str = "UTC"
    """IANA name. Intervals of whole days begin at local midnight; a day may have 23 or 25 hours."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one interval."""

    start: datetime
    end: datetime
    partial: bool
    """Whether it is not over yet, or cut off by the range."""
    figures: Figures


class Timeseries(msgspec.Struct, frozen=True, kw_only=True):
    """Every interval of the range, also those without searches."""

    buckets: list[Bucket]
    refreshed_at: datetime | None


class UserOf(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for what one user searched."""

    selection: Selection
    user_id: str
    limit: int = 10


class UserReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a user searched. Raises `NotFoundError` when nothing is known of one."""

    user_id: str
    figures: Figures
    first_seen: datetime
    last_seen: datetime
    queries: list[QueryFigures]


class ForgetUser(msgspec.Struct, frozen=True):
    """Asks that everything known of a user is deleted, and no longer told of."""

    tenant_id: UUID
    user_id: str


class UserForgotten(msgspec.Struct, frozen=True):
    """What was deleted."""

    searches: int
    interactions: int


class ExportOf(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a page of recorded searches, oldest first."""

    selection: Selection
    limit: int = 1_000
    cursor: str | None = None


class ExportRow(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded search, and what was clicked."""

    tenant_id: UUID
    query_id: UUID
    occurred_at: datetime
    query: str
    mode: SearchMode
    collection: str | None
    filtered: bool
    results: int
    top_score: float | None
    similarity: float | None
    duration_ms: float
    cache: str
    key_id: UUID | None
    user_id: str | None
    client_id: str | None
    trace_id: str
    collapsed: bool
    clicks: int
    first_click_position: int | None


class ExportPage(msgspec.Struct, frozen=True):
    """Rows, and where to go on."""

    rows: list[ExportRow]
    next_cursor: str | None = None


class Retention(msgspec.Struct, frozen=True):
    """For how many days a tenant's searches are kept; None is as long as the installation keeps them."""

    tenant_id: UUID
    days: Annotated[int, Meta(ge=1, le=400)] | None = None


class RetentionOf(msgspec.Struct, frozen=True):
    """Asks how long a tenant's searches are kept."""

    tenant_id: UUID


class JudgementSource(StrEnum):
    """Where a judgement comes from."""

    HAND = "hand"
    CLICKS = "clicks"


class JudgedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query, and how well documents answer it: 0 not at all, up to 10."""

    query: Annotated[str, Meta(min_length=1, max_length=1_000)]
    judgements: Annotated[dict[UUID, Annotated[int, Meta(ge=0, le=10)]], Meta(max_length=1_000)] = {}
    """By document id; empty until somebody judges."""
    source: JudgementSource = JudgementSource.HAND


class JudgedSet(msgspec.Struct, frozen=True, kw_only=True):
    """Judged queries of a collection."""

    id: UUID
    name: str
    collection: str
    queries: int
    judged: int
    """Queries with at least one document that is relevant; only these are measured."""
    created_at: datetime
    updated_at: datetime
    revision: int


class SetRef(msgspec.Struct, frozen=True):
    """Names a tenant's judged set."""

    tenant_id: UUID
    set_id: UUID


class SaveSet(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a judged set, new or (`set_id`) replaced by what is given."""

    tenant_id: UUID
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    collection: str
    queries: Annotated[list[JudgedQuery], Meta(max_length=MAX_JUDGED)]
    set_id: UUID | None = None
    idempotency_key: str | None = None


class AddLogged(msgspec.Struct, frozen=True, kw_only=True):
    """Asks that logged queries are added to a set: named ones, or the most searched, or those without result.

    `judge_by_clicks` makes judgements from clicks; without it they have none.
    """

    ref: SetRef
    queries: Annotated[list[str], Meta(max_length=1_000)] = []
    selection: Selection | None = None
    no_results: bool = False
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 50
    judge_by_clicks: bool = False


class SetDetail(msgspec.Struct, frozen=True):
    """A set with its queries."""

    judged_set: JudgedSet
    queries: list[JudgedQuery]


class SetsOf(msgspec.Struct, frozen=True):
    """Asks for a tenant's sets by name."""

    tenant_id: UUID
    collection: str | None = None


class Sets(msgspec.Struct, frozen=True):
    """A tenant's sets by name; there are at most a thousand."""

    sets: list[JudgedSet]


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """How good the rankings are, 0 to 1; null when no query is judged."""

    ndcg_at_10: float | None
    recall_at_100: float | None
    mean_reciprocal_rank: float | None


class MeasuredQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How good the ranking of one query is, and how it was in the run before."""

    query: str
    measures: Measures
    before: Measures | None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A judged set run against the live index. Queries that failed are in no measure."""

    id: UUID
    set_id: UUID
    mode: SearchMode
    ran_at: datetime
    queries: int
    """Judged queries that were run."""
    failed: int
    measures: Measures
    before: Measures | None
    """Of the last run of the set in the same mode; None at the first."""
    worst: list[MeasuredQuery]
    """Queries that lost most against the run before, or are worst at the first; at most 20."""


class RunSet(msgspec.Struct, frozen=True):
    """Asks that a set is run now, as a caller with these principals would; it may take a minute."""

    ref: SetRef
    mode: SearchMode = SearchMode.HYBRID
    principals: frozenset[str] = frozenset()


class Runs(msgspec.Struct, frozen=True):
    """Runs of a set, latest first, at most 100."""

    runs: list[Run]


POPULAR = RpcMethod("analytics", "popular", Ranked, Queries)
NO_RESULTS = RpcMethod("analytics", "no_results", Ranked, Queries)
LOW_CONFIDENCE = RpcMethod("analytics", "low_confidence", Ranked, Queries)
TRENDING = RpcMethod("analytics", "trending", TrendingOf, Trends)
STATS = RpcMethod("analytics", "stats", Selection, StatsReply)
TIMESERIES = RpcMethod("analytics", "timeseries", TimeseriesOf, Timeseries)
USER = RpcMethod("analytics", "user", UserOf, UserReply)
FORGET_USER = RpcMethod("analytics", "forget_user", ForgetUser, UserForgotten)
EXPORT = RpcMethod("analytics", "export", ExportOf, ExportPage)
GET_RETENTION = RpcMethod("analytics", "get_retention", RetentionOf, Retention)
SET_RETENTION = RpcMethod("analytics", "set_retention", Retention, Retention)
SAVE_SET = RpcMethod("analytics", "save_set", SaveSet, SetDetail)
ADD_LOGGED = RpcMethod("analytics", "add_logged", AddLogged, SetDetail)
GET_SET = RpcMethod("analytics", "get_set", SetRef, SetDetail)
LIST_SETS = RpcMethod("analytics", "list_sets", SetsOf, Sets)
DELETE_SET = RpcMethod("analytics", "delete_set", SetRef, JudgedSet)
RUN_SET = RpcMethod("analytics", "run_set", RunSet, Run)
LIST_RUNS = RpcMethod("analytics", "list_runs", SetRef, Runs)
PURGE_ANALYTICS = RpcMethod("analytics", "purge_tenant", PurgeTenant, Purged)
