"""Judged sets of queries: what search has to find, and how well it does."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.analytics import (
    ADD_LOGGED,
    DELETE_SET,
    GET_SET,
    LIST_RUNS,
    LIST_SETS,
    MAX_DAYS,
    MAX_JUDGED,
    RUN_SET,
    SAVE_SET,
    AddLogged,
    JudgedQuery,
    JudgedSet,
    Run,
    Runs,
    RunSet,
    SaveSet,
    Selection,
    SetDetail,
    SetRef,
    Sets,
    SetsOf,
)
from quarry_common.contracts.collections import DEFAULT_COLLECTION, CollectionName
from quarry_common.contracts.search import SearchMode
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.forms.validation import decode_query, path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare

TAG = "Judged sets"
RUN_SECONDS = 110.0


class SetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Queries of a collection, and how well documents answer them."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    collection: CollectionName = DEFAULT_COLLECTION
    queries: Annotated[list[JudgedQuery], Meta(max_length=MAX_JUDGED)] = []


class LoggedBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which queries that were searched are added: named ones, else the most frequent of the last days."""

    queries: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=1_000)]], Meta(max_length=MAX_JUDGED)
    ] = []
    no_results: Annotated[bool, Meta(description="Those that most often find nothing instead.")] = False
    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = 30
    limit: Annotated[int, Meta(ge=1, le=MAX_JUDGED)] = 50
    judge_by_clicks: Annotated[
        bool, Meta(description="Judge them by what was clicked in the last 90 days.")
    ] = False


class RunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to search."""

    mode: SearchMode = SearchMode.HYBRID


class SetsQuery(msgspec.Struct, frozen=True):
    """Which sets to answer."""

    collection: CollectionName | None = None


def _ref(request: Call, set_id: str) -> SetRef:
    return SetRef(request.auth.tenant_id, path_uuid(set_id, "set_id"))


@post(
    "/api/judged-sets",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Save a judged set",
            description="Judgements are grades of documents, 0 (no answer) to 10; queries may have none yet.",
            body=SetBody,
            body_example={
                "name": "What tenants ask",
                "queries": [
                    {
                        "query": "notice period of the lease",
                        "judgements": {"4f7b6f0e-1e5b-5c56-9d5e-6a2a3c1d9b10": 3},
                    }
                ],
            },
            replies={201: SetDetail},
            errors=(409,),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def save_judged_set(request: Call) -> Response[bytes]:
    """Make a set."""
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    body = await read_json(request, SetBody)
    asked = SaveSet(
        tenant_id=tenant_id,
        name=body.name,
        collection=body.collection,
        queries=body.queries,
        idempotency_key=key,
    )
    return reply(await gateway_of(request).ask(SAVE_SET, asked), 201)


@get(
    "/api/judged-sets",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            tag=TAG,
            summary="List judged sets by name",
            query=SetsQuery,
            replies={200: Sets},
        )
    ),
)
async def list_judged_sets(request: Call) -> Response[bytes]:
    """Answer the sets of the tenant."""
    query = decode_query(request.scope["query_string"], SetsQuery)
    return reply(await gateway_of(request).ask(LIST_SETS, SetsOf(request.auth.tenant_id, query.collection)))


@get(
    "/api/judged-sets/{set_id:str}",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            tag=TAG,
            summary="Read a judged set",
            replies={200: SetDetail},
            errors=(404,),
        )
    ),
)
async def get_judged_set(request: Call, set_id: FromPath[str]) -> Response[bytes]:
    """Answer a set with its queries."""
    return reply(await gateway_of(request).ask(GET_SET, _ref(request, set_id)))


@put(
    "/api/judged-sets/{set_id:str}",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Replace what a judged set holds",
            body=SetBody,
            body_example={"name": "What tenants ask", "queries": [{"query": "deposit"}]},
            replies={200: SetDetail},
            errors=(404, 409),
        )
    ),
)
async def replace_judged_set(request: Call, set_id: FromPath[str]) -> Response[bytes]:
    """Give a set another content."""
    ref = _ref(request, set_id)
    body = await read_json(request, SetBody)
    asked = SaveSet(
        tenant_id=ref.tenant_id,
        name=body.name,
        collection=body.collection,
        queries=body.queries,
        set_id=ref.set_id,
    )
    return reply(await gateway_of(request).ask(SAVE_SET, asked))


@delete(
    "/api/judged-sets/{set_id:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Delete a judged set with its runs",
            replies={200: JudgedSet},
            errors=(404,),
        )
    ),
)
async def delete_judged_set(request: Call, set_id: FromPath[str]) -> Response[bytes]:
    """Remove a set and answer it as it was."""
    return reply(await gateway_of(request).ask(DELETE_SET, _ref(request, set_id)))


@post(
    "/api/judged-sets/{set_id:str}/queries",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Add queries that were searched to a judged set",
            description=(
                "Named ones, the most frequent, or those that find nothing. A query that is there already is "
                "left as it is; one without judgements gets those of the clicks, if they are asked for."
            ),
            body=LoggedBody,
            body_example={"no_results": True, "limit": 20},
            replies={200: SetDetail},
            errors=(404,),
            reads_only=True,
        )
    ),
)
async def add_logged_queries(request: Call, set_id: FromPath[str]) -> Response[bytes]:
    """Fill a set from the log."""
    ref = _ref(request, set_id)
    body = await read_json(request, LoggedBody)
    now = datetime.now(UTC)
    asked = AddLogged(
        ref=ref,
        queries=body.queries,
        selection=Selection(tenant_id=ref.tenant_id, start=now - timedelta(days=body.days), end=now),
        no_results=body.no_results,
        limit=body.limit,
        judge_by_clicks=body.judge_by_clicks,
    )
    return reply(await gateway_of(request).ask(ADD_LOGGED, asked))


@post(
    "/api/judged-sets/{set_id:str}/runs",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_WRITE,
            tag=TAG,
            summary="Run a judged set against the live index",
            description=(
                "Answers nDCG@10, recall@100 and the mean reciprocal rank, those of the run before in the "
                "same "
                "mode, and the queries that lost most. The searches count for no quota and no figure."
            ),
            body=RunBody,
            body_example={"mode": "hybrid"},
            replies={200: Run},
            errors=(404,),
            reads_only=True,
        )
    ),
)
async def run_judged_set(request: Call, set_id: FromPath[str]) -> Response[bytes]:
    """Measure how well search does."""
    ref = _ref(request, set_id)
    body = await read_json(request, RunBody)
    asked = RunSet(ref, body.mode, request.auth.principals)
    return reply(await gateway_of(request).ask(RUN_SET, asked, RUN_SECONDS))


@get(
    "/api/judged-sets/{set_id:str}/runs",
    opt=declare(
        Operation(
            access=Scope.ANALYTICS_READ,
            tag=TAG,
            summary="List the runs of a judged set, latest first",
            replies={200: Runs},
            errors=(404,),
        )
    ),
)
async def list_runs_of_judged_set(request: Call, set_id: FromPath[str]) -> Response[bytes]:
    """Answer the runs of a set."""
    return reply(await gateway_of(request).ask(LIST_RUNS, _ref(request, set_id)))


HANDLERS = [
    save_judged_set,
    list_judged_sets,
    get_judged_set,
    replace_judged_set,
    delete_judged_set,
    add_logged_queries,
    run_judged_set,
    list_runs_of_judged_set,
]
