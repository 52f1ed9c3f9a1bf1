"""Many documents in one request."""

import math

from litestar import Response, post

from quarry_common.contracts.tenancy import Scope
from quarry_gateway.access.admission import charge
from quarry_gateway.forms.batches import Batch, read_batch
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import buffered
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.ingest.batches import BatchReport, take_in_batch
from quarry_gateway.limits.buckets import Endpoint
from quarry_gateway.routes.documents import TAG

DOCUMENTS_PER_UNIT = 10
"""So many documents of a batch count as one request."""


@post(
    "/api/documents/batch",
    status_code=202,
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Add or replace many documents",
            description=(
                "Up to 1000 documents of text. The answer tells of each, in their order: a document that "
                "cannot be taken is `rejected`, with its own problem in `error`, and keeps no other from "
                "being accepted. When the platform fails in the middle, the rest is rejected with 503 or "
                "504: send the whole request again, with the same idempotency key or as an upsert."
            ),
            body=Batch,
            body_example={
                "documents": [
                    {"external_id": "faq/1", "title": "Opening hours", "content": "From nine to five."},
                    {"external_id": "faq/2", "title": "Address", "content": "Example Street 7, Berlin."},
                ],
                "upsert": True,
            },
            replies={202: BatchReport},
            errors=(404, 409, 429),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def add_documents(request: Call) -> Response[bytes]:
    """Take many documents in."""
    gateway, caller = gateway_of(request), request.auth
    _ = caller.tenant_id  # who names no tenant is told so, whatever else is wrong
    key = idempotency_key(request)
    async with buffered(request) as body:
        batch = await read_batch(body)
        cost = math.ceil(len(batch.forms) / DOCUMENTS_PER_UNIT)
        await charge(gateway, request.scope, caller, Endpoint.WRITE, cost - 1, paid=1)  # type: ignore[arg-type]
        return reply(await take_in_batch(gateway, caller, batch, key), 202)


HANDLERS = [add_documents]
