"""The caches of the platform: how they do, and emptying them."""

import msgspec
from litestar import Response, delete, get

from quarry_common.cache.emptying import GATHER_SECONDS
from quarry_common.contracts.audit import Facts
from quarry_common.contracts.caches import REPORT
from quarry_common.contracts.rpc import Nothing
from quarry_common.contracts.tenancy import Scope, Slug
from quarry_gateway.caches.purging import CachePurge, chosen, purge
from quarry_gateway.caches.report import CacheReport, report
from quarry_gateway.forms.validation import decode_query
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.operations import Operation, declare

TAG = "Caches"


class PurgeQuery(msgspec.Struct, frozen=True):
    """Whose entries to forget."""

    tenant: Slug | None = None


@get(
    "/api/admin/cache",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="How the caches do",
            description=(
                "Of every process that answers within half a second; `answered` tells how many those are. "
                "Counted since each process started."
            ),
            replies={200: CacheReport},
        )
    ),
)
async def show_caches(request: Call) -> Response[bytes]:
    """Answer the caches of every process."""
    told = await gateway_of(request).rpc.gather(REPORT, Nothing(), seconds=GATHER_SECONDS)
    return reply(report(told))


@delete(
    "/api/admin/cache",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.KEYS_WRITE,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="Empty the caches",
            description=(
                "A tenant's key empties what is cached for its own tenant, an operator's for `tenant`, or "
                "the one that it acts for, or else for all. What was cached before is not answered "
                "afterwards, by any process. While `complete` is false something may be left: send it again."
            ),
            query=PurgeQuery,
            replies={200: CachePurge},
        )
    ),
)
async def purge_caches(request: Call) -> Response[bytes]:
    """Empty the caches of every process and answer what was in them."""
    gateway, caller = gateway_of(request), request.auth
    query = decode_query(request.scope["query_string"], PurgeQuery)
    done = await purge(gateway, await chosen(gateway, caller, query.tenant))
    after: Facts = {"memory_entries": done.memory_entries, "redis_entries": done.redis_entries}
    await gateway.audit.record(caller, "cache.purged", done.tenant or "*", after=after)
    return reply(done)


HANDLERS = [show_caches, purge_caches]
