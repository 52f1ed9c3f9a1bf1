"""What was searched, what was found and what was not."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, put
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import Meta

from quarry_common.contracts.analytics import (
    EXPORT,
    FORGET_USER,
    GET_RETENTION,
    LOW_CONFIDENCE,
    NO_RESULTS,
    POPULAR,
    SET_RETENTION,
    STATS,
    TIMESERIES,
    TRENDING,
    USER,
    ExportOf,
    ExportPage,
    ExportRow,
    ForgetUser,
    Queries,
    Ranked,
    Retention,
    RetentionOf,
    StatsReply,
    Timeseries,
    TimeseriesOf,
    TrendingOf,
    Trends,
    UserForgotten,
    UserOf,
    UserReply,
)
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.search import SearchMode, UserId
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import FieldError
from quarry_gateway.forms.analytics import Collection, Limit, RangeQuery, RankedQuery, selection_of
from quarry_gateway.forms.validation import check, decode_query, refuse
from quarry_gateway.gateway import Call, Gateway, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.tables import CSV, NDJSON, TableFormat, as_csv, as_ndjson, csv_header

TAG = "Analytics"
AT_A_TIME = 1_000
ACROSS = "An operator who names no tenant asks about all of them."


class TimeseriesQuery(RangeQuery, frozen=True, kw_only=True):
    """Which searches are meant, and how they are cut."""

    interval_hours: Annotated[
        int, Meta(ge=1, le=720, description="1 to 24, or whole days: 48, 72 and so on.")
    ] = 24
    tz: Annotated[str, Meta(min_length=1, max_length=64, examples=["Europe/Berlin"])] = "UTC"


class TrendingQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which hours are held against the same hours of the weeks before."""

    hours: Annotated[int, Meta(ge=1, le=168, description="The last full hours.")] = 24
    limit: Limit = 10
    collection: Collection = None
    mode: SearchMode | None = None


class ExportQuery(RangeQuery, frozen=True, kw_only=True):
    """Which searches are meant, and in which form they are wanted."""

    format: TableFormat = TableFormat.CSV


class _UserInPath(msgspec.Struct, frozen=True):
    user_id: UserId


class RetentionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long searches are kept."""

    days: Annotated[int, Meta(ge=1, le=400)] | None
    """Null is as long as the installation keeps them."""


def _ranked(summary: str, description: str) -> dict[str, Operation]:
    return declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary=summary,
            description=f"{description} {ACROSS}",
            query=RankedQuery,
            replies={200: Queries},
        )
    )


async def _queries(request: Call, method: RpcMethod[Ranked, Queries]) -> Response[bytes]:
    query = decode_query(request.scope["query_string"], RankedQuery)
    return reply(
        await gateway_of(request).ask(method, Ranked(selection_of(query, request.auth), query.limit))
    )


@get(
    "/api/admin/analytics/popular",
    opt=_ranked("List the queries that are searched most", "Whatever their case and spaces."),
)
async def popular_queries(request: Call) -> Response[bytes]:
    """Answer what is searched most."""
    return await _queries(request, POPULAR)


@get(
    "/api/admin/analytics/no-results",
    opt=_ranked("List the queries that most often find nothing", "What users look for and is not there."),
)
async def queries_without_results(request: Call) -> Response[bytes]:
    """Answer what most often finds nothing."""
    return await _queries(request, NO_RESULTS)


@get(
    "/api/admin/analytics/low-confidence",
    opt=_ranked(
        "List the queries that most often find nothing good",
        "Hybrid and semantic searches whose best result scored low.",
    ),
)
async def queries_of_low_confidence(request: Call) -> Response[bytes]:
    """Answer what most often finds nothing good."""
    return await _queries(request, LOW_CONFIDENCE)


@get(
    "/api/admin/analytics/stats",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="Read what all searches come to",
            description=(
                "Rates and times are null where there is nothing that they could be of; click-through and "
                f"abandonment are null until a click was told of. {ACROSS}"
            ),
            query=RangeQuery,
            replies={200: StatsReply},
        )
    ),
)
async def search_stats(request: Call) -> Response[bytes]:
    """Answer figures of a range."""
    query = decode_query(request.scope["query_string"], RangeQuery)
    return reply(await gateway_of(request).ask(STATS, selection_of(query, request.auth)))


@get(
    "/api/admin/analytics/timeseries",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="Read how searches develop",
            description=(
                "Every interval of the range, also the empty ones. Days are those of the time zone; "
                f"`partial` tells which intervals are cut off or not over yet. {ACROSS}"
            ),
            query=TimeseriesQuery,
            replies={200: Timeseries},
        )
    ),
)
async def search_timeseries(request: Call) -> Response[bytes]:
    """Answer figures of each interval."""
    query = decode_query(request.scope["query_string"], TimeseriesQuery)
    hours = query.interval_hours
    if hours > 24 and hours % 24:
        refuse([FieldError("interval_hours", "must be at most 24, or a multiple of 24")])
    asked = TimeseriesOf(selection=selection_of(query, request.auth), interval_hours=hours, tz=query.tz)
    return reply(await gateway_of(request).ask(TIMESERIES, asked))


@get(
    "/api/admin/analytics/trending",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="List the queries that are searched more than was to be expected",
            description=(
                "The last hours are held against the same hours of up to eight weeks before. A query is "
                "listed when chance, the time of the week and the growth of all searches do not explain it, "
                f"with the evidence. {ACROSS}"
            ),
            query=TrendingQuery,
            replies={200: Trends},
        )
    ),
)
async def trending_queries(request: Call) -> Response[bytes]:
    """Answer what is trending."""
    query = decode_query(request.scope["query_string"], TrendingQuery)
    ranged = RangeQuery(collection=query.collection, mode=query.mode)
    asked = TrendingOf(
        selection=selection_of(ranged, request.auth), window_hours=query.hours, limit=query.limit
    )
    return reply(await gateway_of(request).ask(TRENDING, asked))


@get(
    "/api/admin/analytics/users/{user_id:str}",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            tag=TAG,
            summary="Read what one user searches",
            description="By the `user_id` that searches were sent with.",
            query=RankedQuery,
            replies={200: UserReply},
            errors=(404,),
        )
    ),
)
async def searches_of_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Answer what a user searched."""
    query = decode_query(request.scope["query_string"], RankedQuery)
    named = check({"user_id": user_id}, _UserInPath).user_id
    selection = msgspec.structs.replace(selection_of(query, request.auth), tenant_id=request.auth.tenant_id)
    asked = UserOf(selection=selection, user_id=named, limit=query.limit)
    return reply(await gateway_of(request).ask(USER, asked))


@delete(
    "/api/admin/analytics/users/{user_id:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Delete what is known of a user",
            description=(
                "Searches and what was done with their answers; figures follow within minutes. What comes "
                "late of "
                "the time before is not recorded either, also of a user of whom nothing is known (404)."
            ),
            replies={200: UserForgotten},
            errors=(404,),
        )
    ),
)
async def forget_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Delete what is known of a user."""
    gateway, caller = gateway_of(request), request.auth
    named = check({"user_id": user_id}, _UserInPath).user_id
    done = await gateway.ask(FORGET_USER, ForgetUser(caller.tenant_id, named))
    await gateway.audit.record(caller, "user.forgotten", "analytics", after=msgspec.to_builtins(done))
    return reply(done)


@get(
    "/api/admin/analytics/export",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="Read every recorded search",
            description=(
                "As CSV, or with `format=ndjson` as lines of JSON, oldest first. In CSV a text that a "
                f"spreadsheet would take for a formula has an apostrophe before it. {ACROSS}"
            ),
            query=ExportQuery,
            replies={200: CSV},
            other_types=(NDJSON,),
            reply_example="tenant_id,query_id,occurred_at,query,…\r\n",
        )
    ),
)
async def export_searches(request: Call) -> Stream:
    """Answer recorded searches, piece by piece."""
    gateway = gateway_of(request)
    query = decode_query(request.scope["query_string"], ExportQuery)
    asked = ExportOf(selection=selection_of(query, request.auth), limit=AT_A_TIME)
    first = await gateway.ask(EXPORT, asked)
    media_type = CSV if query.format is TableFormat.CSV else NDJSON
    return Stream(_pieces(gateway, asked, first, query.format), media_type=media_type)


async def _pieces(
    gateway: Gateway, asked: ExportOf, page: ExportPage, table: TableFormat
) -> AsyncIterator[str]:
    if table is TableFormat.CSV:
        yield csv_header(ExportRow)
    while True:
        yield as_csv(page.rows) if table is TableFormat.CSV else as_ndjson(page.rows)
        if page.next_cursor is None:
            return
        page = await gateway.ask(EXPORT, msgspec.structs.replace(asked, cursor=page.next_cursor))


@get(
    "/api/admin/analytics/retention",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            tag=TAG,
            summary="Read how long searches are kept",
            replies={200: RetentionBody},
        )
    ),
)
async def get_retention(request: Call) -> Response[bytes]:
    """Answer for how many days searches are kept."""
    found = await gateway_of(request).ask(GET_RETENTION, RetentionOf(request.auth.tenant_id))
    return reply(RetentionBody(found.days))


@put(
    "/api/admin/analytics/retention",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Change how long searches are kept",
            description="What is older goes within an hour, for good.",
            body=RetentionBody,
            body_example={"days": 30},
            replies={200: RetentionBody},
        )
    ),
)
async def set_retention(request: Call) -> Response[bytes]:
    """Keep searches for so many days."""
    gateway, caller = gateway_of(request), request.auth
    tenant_id: UUID = caller.tenant_id
    body = await read_json(request, RetentionBody)
    done = await gateway.ask(SET_RETENTION, Retention(tenant_id, body.days))
    await gateway.audit.record(caller, "analytics.retention_changed", "analytics", after={"days": done.days})
    return reply(RetentionBody(done.days))


HANDLERS = [
    popular_queries,
    queries_without_results,
    queries_of_low_confidence,
    search_stats,
    search_timeseries,
    trending_queries,
    searches_of_user,
    forget_user,
    export_searches,
    get_retention,
    set_retention,
]
