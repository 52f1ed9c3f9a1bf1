"""Changes of documents that are there: what is said of them, and indexing them again."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, patch, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts import filters
from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.documents import (
    MAX_CHOSEN,
    PATCH_DOCUMENT,
    REINDEX,
    Document,
    DocumentPatch,
    PatchDocument,
    Reindex,
    Reindexing,
)
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import FieldError, ValidationError
from quarry_gateway.forms.documents import PatchForm, wrong_entries
from quarry_gateway.forms.filtering import wrong_filter
from quarry_gateway.forms.validation import refuse
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import JSON, MERGE_PATCH, read_json
from quarry_gateway.http.conditions import ETAG, IF_MATCH, condition_of, etag
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import Cursor
from quarry_gateway.routes.documents import TAG, named

PATCH_TYPES = (JSON, MERGE_PATCH)


class ReindexForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which documents to index again: those to which everything given applies, but something must be."""

    document_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_CHOSEN)] | None = None
    collection: CollectionName | None = None
    filter: dict[str, Any] | None = None
    """As for a search."""
    cursor: Cursor | None = None


@patch(
    "/api/documents/{document_id:str}",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Change what is said of a document",
            description=(
                "A merge patch (RFC 7396): what is left out stays, null empties a field, `metadata` is "
                "merged name by name. Nothing is indexed again. Title, content, collection and external id "
                "cannot be changed so: send the whole document with PUT."
            ),
            body=PatchForm,
            body_types=PATCH_TYPES,
            body_example={"tags": ["legal", "signed"], "metadata": {"year": 2025, "draft": None}},
            replies={200: Document},
            errors=(404, 409, 412),
            request_headers=(IF_MATCH,),
            reply_headers=(ETAG,),
        )
    ),
)
async def patch_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Change a document's fields and answer it."""
    ref = named(request, document_id)
    condition = condition_of(request)
    form = await _read_patch(request)
    asked = PatchDocument(
        tenant_id=ref.tenant_id,
        document_id=ref.document_id,
        patch=DocumentPatch(**{name: getattr(form, name) for name in DocumentPatch.__struct_fields__}),
        condition=condition,
    )
    document = await gateway_of(request).ask(PATCH_DOCUMENT, asked)
    return reply(document, etag=etag(document.revision))


async def _read_patch(request: Call) -> PatchForm:
    try:
        form = await read_json(request, PatchForm, wrong_entries, kinds=PATCH_TYPES)
        refuse(list(wrong_entries(msgspec.structs.asdict(form))))
    except ValidationError as error:
        known = DocumentPatch.__struct_fields__
        if all(wrong.field.split(".")[0].split("[")[0] in known for wrong in error.data.errors):
            raise
        raise ValidationError(
            error.data.detail,
            errors=error.data.errors,
            advice=(
                "Only these can be changed so: " + ", ".join(known) + ". For anything else send the whole "
                "document with PUT /api/documents/by-external-id/{external_id}."
            ),
        ) from None
    return form


@post(
    "/api/documents/reindex",
    status_code=202,
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Index documents again",
            description=(
                "Those to which everything given applies; a collection alone means all in it. They are found "
                "as before until they are done. When there is a `next_cursor`, send it with the same choice "
                "to go on."
            ),
            body=ReindexForm,
            body_example={"collection": "contracts", "filter": {"doc_type": ["pdf"]}},
            replies={202: Reindexing},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def reindex(request: Call) -> Response[bytes]:
    """Queue documents to be indexed again."""
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    body = await read_json(request, ReindexForm, wrong_filter("filter"))
    if body.document_ids is None and body.collection is None and not body.filter:
        message = "is missing; give document_ids, collection or a filter that says something"
        refuse([FieldError("document_ids" if body.filter is None else "filter", message)])
    asked = Reindex(
        tenant_id=tenant_id,
        document_ids=body.document_ids,
        collection=request.auth.chosen_collection(body.collection),
        filters=filters.parse(body.filter, "filter") if body.filter else None,
        cursor=body.cursor,
        idempotency_key=key,
    )
    gateway = gateway_of(request)
    done = await gateway.ask(REINDEX, asked)
    await gateway.audit.record(
        request.auth, "documents.reindexed", asked.collection or "*", after={"jobs": done.jobs}
    )
    return reply(done, 202)


HANDLERS = [patch_document, reindex]
