"""Documents: taken in, read, listed and deleted."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.documents import (
    DEFAULT_COLLECTION,
    DELETE_DOCUMENT,
    GET_DOCUMENT,
    LIST_DOCUMENTS,
    Accepted,
    CollectionName,
    Deleted,
    Document,
    DocumentFields,
    DocumentPage,
    DocumentRef,
    DocumentStatus,
    ExternalId,
    Job,
    JobState,
    ListDocuments,
)
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import ConflictError, QuarryError, RemoteError
from quarry_gateway.acceptance import DocumentForm, outcome, take_in
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.operations import Operation, declare
from quarry_gateway.paging import PageQuery
from quarry_gateway.problems import answer_error
from quarry_gateway.validation import check, decode_query, path_text, path_uuid

TAG = "Documents"
BY_EXTERNAL_ID = "/api/documents/by-external-id/"
EXAMPLE: dict[str, object] = {
    "title": "Lease of the Berlin office",
    "content": "The notice period is six months to the end of a quarter.",
    "doc_type": "text",
    "tags": ["legal", "berlin"],
    "metadata": {"year": 2024, "parties": ["Acme Ltd", "Example GmbH"]},
    "collection": "default",
}
IDEMPOTENCY = {"Idempotency-Key": "A repeated request with the same key gives the first answer for 24 hours."}


class WaitQuery(msgspec.Struct, frozen=True):
    """Whether to answer only when the outcome is known."""

    wait: Annotated[
        Literal["searchable"] | None, Meta(description="Wait until the document can be found.")
    ] = None
    timeout_seconds: Annotated[
        float, Meta(ge=0, le=120, description="How long to wait; then the answer is 202.")
    ] = 30


class UpsertQuery(WaitQuery, frozen=True):
    """Where the document to be replaced is, and whether to wait."""

    collection: CollectionName = DEFAULT_COLLECTION


class DocumentsQuery(PageQuery, frozen=True):
    """Which documents to list."""

    collection: CollectionName | None = None
    status: DocumentStatus | None = None


class _ExternalIdInPath(msgspec.Struct, frozen=True):
    external_id: ExternalId


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
            query=WaitQuery,
            body=DocumentForm,
            body_example=EXAMPLE,
            form=DocumentForm,
            replies={200: Job, 202: Accepted},
            errors=(404, 409, 429),
            request_headers=IDEMPOTENCY,
        )
    ),
)
async def add_document(request: Call) -> Response[bytes]:
    """Take a document in."""
    query = decode_query(request.scope["query_string"], WaitQuery)
    return await _answer(request, await take_in(request), query, status=202)


@put(
    "/api/documents/by-external-id/{external_id:path}",
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
            errors=(404, 409, 429),
            request_headers=IDEMPOTENCY,
        )
    ),
)
async def put_document(request: Call) -> Response[bytes]:
    """Take a document in, in the place of the one with the same external id."""
    query = decode_query(request.scope["query_string"], UpsertQuery)
    external_id = path_text(request.scope["raw_path"], BY_EXTERNAL_ID)
    check({"external_id": external_id}, _ExternalIdInPath)
    target = DocumentFields(collection=query.collection, external_id=external_id)
    accepted = await take_in(request, target=target)
    return await _answer(request, accepted, query, status=200 if accepted.unchanged else 202)


async def _answer(request: Call, accepted: Accepted, query: WaitQuery, *, status: int) -> Response[bytes]:
    location = f"/api/jobs/{accepted.job_id}"
    job = await _outcome(request, accepted.job_id, query) if query.wait else None
    if job is None or not job.state.final:
        return reply(accepted, status, location=location)
    if job.state is JobState.SUCCEEDED:
        return reply(job, 200, location=location)
    return _failed(request, job, location)


async def _outcome(request: Call, job_id: UUID, query: WaitQuery) -> Job | None:
    try:
        return await outcome(gateway_of(request), request.auth.tenant_id, job_id, query.timeout_seconds)
    except QuarryError:
        # The document is accepted, whatever becomes of the waiting: the answer must say so.
        return None


def _failed(request: Call, job: Job, location: str) -> Response[bytes]:
    error: QuarryError
    if job.error is None:
        error = ConflictError(
            "The job was cancelled: its document was deleted or replaced.", advice="Send the document again."
        )
    else:
        error = RemoteError(job.error)
    response = answer_error(request, error)
    response.headers["location"] = location
    return response


@get(
    "/api/documents",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="List documents, newest first",
            query=DocumentsQuery,
            replies={200: DocumentPage},
            errors=(404,),
        )
    ),
)
async def list_documents(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's documents."""
    query = decode_query(request.scope["query_string"], DocumentsQuery)
    asked = ListDocuments(request.auth.tenant_id, query.collection, query.status, query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_DOCUMENTS, asked))


@get(
    "/api/documents/{document_id:str}",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="Read a document",
            replies={200: Document},
            errors=(404,),
        )
    ),
)
async def get_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Answer one document."""
    return reply(await gateway_of(request).ask(GET_DOCUMENT, _named(request, document_id)))


@delete(
    "/api/documents/{document_id:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Delete a document",
            description="It is not found any more when the answer comes; a running job is cancelled.",
            replies={200: Deleted},
            errors=(404,),
        )
    ),
)
async def delete_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Delete a document."""
    return reply(await gateway_of(request).ask(DELETE_DOCUMENT, _named(request, document_id)))


def _named(request: Call, document_id: str) -> DocumentRef:
    return DocumentRef(request.auth.tenant_id, path_uuid(document_id, "document_id"))


HANDLERS = [add_document, put_document, list_documents, get_document, delete_document]
