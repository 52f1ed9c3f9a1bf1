"""What tenants use, and what they may have: for themselves, and for billing."""

from collections.abc import AsyncIterator
from datetime import date
from enum import StrEnum
from typing import Annotated

import msgspec
from litestar import get
from litestar.response import Response, Stream
from msgspec import Meta

from quarry_common.contracts.tenancy import LIST_TENANTS, ListTenants, Scope
from quarry_gateway.forms.validation import decode_query
from quarry_gateway.gateway import Call, Gateway, gateway_of, reply
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.tables import CSV, NDJSON, TableFormat
from quarry_gateway.usage import Period, UsageDay, as_csv, as_ndjson, period_of, usage_of

TAG = "Usage"
TENANTS_AT_A_TIME = 50


class Format(StrEnum):
    """In which form to answer."""

    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


_First = Annotated[date | None, Meta(description="First day (UTC); thirty days before the last by default.")]
_Last = Annotated[date | None, Meta(description="Last day (UTC); today by default.")]


class UsageQuery(msgspec.Struct, frozen=True):
    """Which days, and in which form."""

    first: _First = None
    last: _Last = None
    format: Format = Format.JSON


class AllUsageQuery(msgspec.Struct, frozen=True):
    """Which days, and in which form."""

    first: _First = None
    last: _Last = None
    format: TableFormat = TableFormat.CSV


class Usage(msgspec.Struct, frozen=True):
    """What a tenant used, oldest day first."""

    tenant: str
    days: list[UsageDay]


@get(
    "/api/usage",
    opt=declare(
        Operation(
            access=Scope.TENANT_READ,
            tag=TAG,
            summary="Read what was used, by day",
            description="As JSON, or with `format` as CSV or NDJSON. Searches are told within seconds.",
            query=UsageQuery,
            replies={200: Usage},
            other_types=(CSV, NDJSON),
        )
    ),
)
async def get_usage(request: Call) -> Response[bytes]:
    """Answer the tenant's usage."""
    tenant_id, slug = request.auth.tenant_id, request.auth.tenant_slug or ""
    query = decode_query(request.scope["query_string"], UsageQuery)
    days = await usage_of(gateway_of(request), tenant_id, period_of(query.first, query.last))
    rows = [(slug, day) for day in days]
    if query.format is Format.CSV:
        return Response(as_csv(rows, header=True).encode(), media_type=CSV)
    if query.format is Format.NDJSON:
        return Response(as_ndjson(rows).encode(), media_type=NDJSON)
    return reply(Usage(slug, days))


@get(
    "/api/admin/usage",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Read what every tenant used, by day",
            description="As CSV, or with `format=ndjson` as lines of JSON; tenants in the order of creation.",
            query=AllUsageQuery,
            replies={200: CSV},
            other_types=(NDJSON,),
            reply_example="tenant,day,documents_added,…\r\nacme,2026-01-31,12,…\r\n",
        )
    ),
)
async def get_all_usage(request: Call) -> Stream:
    """Answer the usage of all tenants, piece by piece."""
    query = decode_query(request.scope["query_string"], AllUsageQuery)
    period = period_of(query.first, query.last)
    media_type = CSV if query.format is TableFormat.CSV else NDJSON
    return Stream(_pieces(gateway_of(request), period, query.format), media_type=media_type)


async def _pieces(gateway: Gateway, period: Period, table: TableFormat) -> AsyncIterator[str]:
    if table is TableFormat.CSV:
        yield as_csv([], header=True)
    cursor = None
    while True:
        page = await gateway.ask(LIST_TENANTS, ListTenants(TENANTS_AT_A_TIME, cursor))
        for tenant in page.tenants:
            rows = [(tenant.slug, day) for day in await usage_of(gateway, tenant.id, period)]
            yield as_csv(rows, header=False) if table is TableFormat.CSV else as_ndjson(rows)
        cursor = page.next_cursor
        if cursor is None:
            return


HANDLERS = [get_usage, get_all_usage]
