"""Documents taken in: new ones, and in the place of others."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, post, put
from msgspec import Meta

from quarry_common.contracts.collections import DEFAULT_COLLECTION, CollectionName
from quarry_common.contracts.documents import Accepted, DocumentFields
from quarry_common.contracts.jobs import Job, JobState, Priority
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import ConflictError, QuarryError, RemoteError
from quarry_gateway.forms.documents import DocumentForm
from quarry_gateway.forms.validation import decode_query
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.conditions import ETAG, IF_MATCH, IF_NONE_MATCH, condition_of, etag
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.problems import answer_error
from quarry_gateway.ingest.acceptance import outcome, take_in
from quarry_gateway.routes.documents import BY_EXTERNAL_ID, TAG, external_id_of

EXAMPLE: dict[str, object] = {
    "title": "Lease of the Berlin office",
    "content": "The notice period is six months to the end of a quarter.",
    "doc_type": "text",
    "tags": ["legal", "berlin"],
    "metadata": {"year": 2024, "parties": ["Acme Ltd", "Example GmbH"]},
    "collection": "default",
}


class AddQuery(msgspec.Struct, frozen=True):
    """Whether to answer only when the outcome is known, and how soon the work is to be done."""

    wait: Annotated[
        Literal["searchable"] | None, Meta(description="Wait until the document can be found.")
    ] = None
    timeout_seconds: Annotated[
        float, Meta(ge=0, le=120, description="How long to wait; then the answer is 202.")
    ] = 30
    priority: Annotated[
        Priority,
        Meta(description="`bulk` lets the tenant's other documents go first, as in an import."),
    ] = Priority.INTERACTIVE


class UpsertQuery(AddQuery, frozen=True):
    """Where the document to be replaced is, and what `AddQuery` says."""

    collection: CollectionName = DEFAULT_COLLECTION


@post(
    "/api/documents",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Add a document",
            description=(
                "As JSON with its text, or as multipart/form-data: the part `file` and the same fields, "
                "lists and objects as JSON. The answer comes when the document is stored durably; with "
                "`wait=searchable` when its job is over."
            ),
            query=AddQuery,
            body=DocumentForm,
            body_example=EXAMPLE,
            form=DocumentForm,
            replies={200: Job, 202: Accepted},
            errors=(404, 409, 429),
            request_headers=(IDEMPOTENCY_KEY,),
            reply_headers=(ETAG,),
        )
    ),
)
async def add_document(request: Call) -> Response[bytes]:
    """Take a document in."""
    query = decode_query(request.scope["query_string"], AddQuery)
    return await _answer(request, await take_in(request, query.priority), query, status=202)


@put(
    BY_EXTERNAL_ID + "{external_id:path}",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Add or replace the document that you know by your own id",
            description="Unchanged content is not indexed again; the answer is then 200 with `unchanged`.",
            query=UpsertQuery,
            body=DocumentForm,
            body_example=EXAMPLE,
            form=DocumentForm,
            replies={200: (Accepted, Job), 202: Accepted},
            errors=(404, 409, 412, 429),
            request_headers=(IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH),
            reply_headers=(ETAG,),
        )
    ),
)
async def put_document(request: Call) -> Response[bytes]:
    """Take a document in, in the place of the one with the same external id."""
    query = decode_query(request.scope["query_string"], UpsertQuery)
    target = DocumentFields(collection=query.collection, external_id=external_id_of(request))
    condition = condition_of(request, may_create=True)
    accepted = await take_in(request, query.priority, target=target, condition=condition)
    return await _answer(request, accepted, query, status=200 if accepted.unchanged else 202)


async def _answer(request: Call, accepted: Accepted, query: AddQuery, *, status: int) -> Response[bytes]:
    headers = {"location": f"/api/jobs/{accepted.job_id}", "etag": etag(accepted.revision)}
    job = await _outcome(request, accepted.job_id, query) if query.wait else None
    if job is None or not job.state.final:
        return reply(accepted, status, **headers)
    if job.state is JobState.SUCCEEDED:
        return reply(job, 200, **headers)
    return _failed(request, job, headers["location"])


async def _outcome(request: Call, job_id: UUID, query: AddQuery) -> Job | None:
    try:
        return await outcome(gateway_of(request), request.auth.tenant_id, job_id, query.timeout_seconds)
    except QuarryError:
        # The document is accepted, whatever becomes of the waiting: the answer must say so.
        return None


def _failed(request: Call, job: Job, location: str) -> Response[bytes]:
    error: QuarryError
    if job.error is None:
        error = ConflictError(
            "The job was cancelled: by somebody, or because its document was deleted or replaced.",
            advice="Send the document again, or try the job again.",
        )
    else:
        error = RemoteError(job.error)
    response = answer_error(request, error)
    response.headers["location"] = location
    return response


HANDLERS = [add_document, put_document]
