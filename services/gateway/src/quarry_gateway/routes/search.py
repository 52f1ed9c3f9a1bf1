"""Search: ranked, cited passages."""

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from msgspec import Meta

from quarry_common.contracts import filters
from quarry_common.contracts.search import QUERY, Answer, Query, SearchMode
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.bodies import read_json
from quarry_gateway.filtering import wrong_filter
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.operations import Operation, declare
from quarry_gateway.paging import Cursor


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look for. `filters` is described in docs/services/gateway.md."""

    query: Annotated[str, Meta(min_length=1, max_length=8000)]
    mode: SearchMode = SearchMode.HYBRID
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    cursor: Cursor | None = None
    filters: dict[str, Any] | None = None
    group_by_document: bool = False
    highlight: bool = False


@post(
    "/api/search",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.SEARCH,
            tag="Search",
            summary="Search",
            description=(
                "The mode asked for is the mode that runs. It only reads, and so may be repeated: an "
                "`Idempotency-Key` is not needed and not looked at."
            ),
            body=Search,
            body_example={
                "query": "notice period of the lease",
                "mode": "hybrid",
                "limit": 10,
                "filters": {"doc_type": ["pdf", "docx"], "metadata": {"year": {"gte": 2020}}},
                "group_by_document": True,
                "highlight": True,
            },
            replies={200: Answer},
            errors=(429,),
            reads_only=True,
        )
    ),
)
async def search(request: Call) -> Response[bytes]:
    """Answer the passages that fit best."""
    tenant_id = request.auth.tenant_id
    body = await read_json(request, Search, wrong_filter("filters"))
    asked = Query(
        tenant_id=tenant_id,
        query=body.query,
        mode=body.mode,
        limit=body.limit,
        cursor=body.cursor,
        filters=filters.parse(body.filters) if body.filters else None,
        group_by_document=body.group_by_document,
        highlight=body.highlight,
    )
    return reply(await gateway_of(request).ask(QUERY, asked))


HANDLERS = [search]
