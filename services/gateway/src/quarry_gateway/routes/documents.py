"""Documents: read, listed and deleted."""

from enum import StrEnum

import msgspec
from litestar import Response, delete, get
from litestar.params import FromPath

from quarry_common.contracts.collections import DEFAULT_COLLECTION, CollectionName
from quarry_common.contracts.documents import (
    DELETE_DOCUMENT,
    GET_DOCUMENT,
    LIST_DOCUMENTS,
    Deleted,
    DeleteDocument,
    Document,
    DocumentPage,
    DocumentRef,
    DocumentStatus,
    ExternalId,
    ListDocuments,
    Order,
)
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.forms.filtering import FilterText, parse_text
from quarry_gateway.forms.validation import check, decode_query, path_text, path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.conditions import ETAG, IF_MATCH, condition_of, etag
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Documents"
BY_EXTERNAL_ID = "/api/documents/by-external-id/"


class PlaceQuery(msgspec.Struct, frozen=True):
    """In which collection the external id is."""

    collection: CollectionName = DEFAULT_COLLECTION


class Sort(StrEnum):
    """What documents are sorted by; a dash before it: the greatest first."""

    CREATED = "created_at"
    CREATED_DESCENDING = "-created_at"
    UPDATED = "updated_at"
    UPDATED_DESCENDING = "-updated_at"
    TITLE = "title"
    TITLE_DESCENDING = "-title"


class DocumentsQuery(PageQuery, frozen=True):
    """Which documents to list, and in which order."""

    collection: CollectionName | None = None
    status: DocumentStatus | None = None
    filter: FilterText | None = None
    sort: Sort = Sort.CREATED_DESCENDING


class _ExternalIdInPath(msgspec.Struct, frozen=True):
    external_id: ExternalId


@get(
    "/api/documents",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="List documents, newest first unless sorted otherwise",
            query=DocumentsQuery,
            replies={200: DocumentPage},
            errors=(404,),
        )
    ),
)
async def list_documents(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's documents."""
    query = decode_query(request.scope["query_string"], DocumentsQuery)
    asked = ListDocuments(
        tenant_id=request.auth.tenant_id,
        collection=request.auth.chosen_collection(query.collection),
        status=query.status,
        filters=parse_text(query.filter),
        order=Order(query.sort.lstrip("-")),
        descending=query.sort.startswith("-"),
        limit=query.limit,
        cursor=query.cursor,
    )
    return reply(await gateway_of(request).ask(LIST_DOCUMENTS, asked))


def _reading(summary: str, query: type[msgspec.Struct] | None = None) -> Operation:
    return Operation(
        access=Scope.DOCUMENTS_READ,
        tag=TAG,
        summary=summary,
        query=query,
        replies={200: Document},
        errors=(404,),
        reply_headers=(ETAG,),
    )


@get("/api/documents/{document_id:str}", opt=declare(_reading("Read what is known of a document")))
async def get_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Answer one document."""
    return await _read(request, named(request, document_id))


@get(
    BY_EXTERNAL_ID + "{external_id:path}",
    opt=declare(_reading("Read what is known of the document that you know by your own id", PlaceQuery)),
)
async def get_document_by_external_id(request: Call) -> Response[bytes]:
    """Answer one document."""
    return await _read(request, _placed(request))


async def _read(request: Call, ref: DocumentRef) -> Response[bytes]:
    document = await gateway_of(request).ask(GET_DOCUMENT, ref)
    return reply(document, etag=etag(document.revision))


def _deleting(summary: str, query: type[msgspec.Struct] | None = None) -> Operation:
    return Operation(
        access=Scope.DOCUMENTS_WRITE,
        tag=TAG,
        summary=summary,
        description="It is not found any more when the answer comes; a running job is cancelled.",
        query=query,
        replies={200: Deleted},
        errors=(404, 412),
        request_headers=(IF_MATCH,),
    )


@delete("/api/documents/{document_id:str}", status_code=200, opt=declare(_deleting("Delete a document")))
async def delete_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Delete a document."""
    return await _delete(request, named(request, document_id))


@delete(
    BY_EXTERNAL_ID + "{external_id:path}",
    status_code=200,
    opt=declare(_deleting("Delete the document that you know by your own id", PlaceQuery)),
)
async def delete_document_by_external_id(request: Call) -> Response[bytes]:
    """Delete a document."""
    return await _delete(request, _placed(request))


async def _delete(request: Call, ref: DocumentRef) -> Response[bytes]:
    asked = DeleteDocument(
        ref.tenant_id, ref.document_id, ref.collection, ref.external_id, condition=condition_of(request)
    )
    return reply(await gateway_of(request).ask(DELETE_DOCUMENT, asked))


def named(request: Call, document_id: str) -> DocumentRef:
    """Return the document that a path names by its id. Raises `ValidationError` when it is none."""
    return DocumentRef(request.auth.tenant_id, path_uuid(document_id, "document_id"))


def _placed(request: Call) -> DocumentRef:
    tenant_id = request.auth.tenant_id
    query = decode_query(request.scope["query_string"], PlaceQuery)
    collection = request.auth.require_collection(query.collection)
    return DocumentRef(tenant_id, collection=collection, external_id=external_id_of(request))


def external_id_of(request: Call) -> str:
    """Return the external id that a path names. Raises `ValidationError` when it cannot be one."""
    external_id = path_text(request.scope["raw_path"], BY_EXTERNAL_ID)
    return check({"external_id": external_id}, _ExternalIdInPath).external_id


HANDLERS = [
    list_documents,
    get_document,
    get_document_by_external_id,
    delete_document,
    delete_document_by_external_id,
]
