"""The vector index beside the database, for the platform's operator."""

from typing import Final

import msgspec
from litestar import Response, get, post

from quarry_common.contracts.documents import INSPECT_INDEX, IndexReport, InspectIndex
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare

TAG = "Index"
INSPECTION_SECONDS: Final = 60.0


@get(
    "/api/admin/index",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Compare a tenant's vectors with its documents",
            description="The tenant is the one in `X-Tenant`. May take up to a minute.",
            replies={200: IndexReport},
            errors=(404,),
        )
    ),
)
async def inspect_index(request: Call) -> Response[bytes]:
    """Answer how far the vector index is from the database."""
    asked = InspectIndex(request.auth.tenant_id)
    return reply(await gateway_of(request).ask(INSPECT_INDEX, asked, INSPECTION_SECONDS))


@post(
    "/api/admin/index/repair",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Mend a tenant's vectors",
            description=(
                "What should not be there is removed, what is hidden is shown, and documents with something "
                "missing are queued to be indexed. The tenant is the one in `X-Tenant`. May take up to a "
                "minute; to repeat it is harmless."
            ),
            replies={200: IndexReport},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def repair_index(request: Call) -> Response[bytes]:
    """Mend the vector index and answer what was wrong with it."""
    key = idempotency_key(request)
    asked = InspectIndex(request.auth.tenant_id, repair=True, idempotency_key=key)
    gateway = gateway_of(request)
    report = await gateway.ask(INSPECT_INDEX, asked, INSPECTION_SECONDS)
    await gateway.audit.record(request.auth, "index.repaired", "*", after=msgspec.to_builtins(report))
    return reply(report)


HANDLERS = [inspect_index, repair_index]
