"""Documents that are there: read, changed, deleted, indexed again."""

from collections.abc import Iterable
from typing import Unpack
from uuid import UUID

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, condition, get, params_of, post
from quarry_client.calls.uploads import place


def list_documents(
    *,
    collection: str | None = None,
    status: types.DocumentStatusName | None = None,
    filters: types.Filter | None = None,
    sort: types.SortName | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[types.DocumentPage]:
    """List documents, newest first unless sorted otherwise."""
    return get(
        "/api/documents",
        types.DocumentPage,
        collection=collection,
        status=status,
        filter=None if filters is None else msgspec.json.encode(filters).decode(),
        sort=sort,
        limit=limit,
        cursor=cursor,
    )


def get_document(document_id: UUID) -> Call[types.Document]:
    """Read what is known of a document."""
    return get(f"/api/documents/{document_id}", types.Document)


def find_document(external_id: str, *, collection: str | None = None) -> Call[types.Document]:
    """Read what is known of the document that its owner knows by `external_id`."""
    return get(place(external_id), types.Document, collection=collection)


def get_content(document_id: UUID) -> Call[str]:
    """Read a document's text as it was extracted."""
    return get(f"/api/documents/{document_id}/content", str)


def list_chunks(document_id: UUID, *, limit: int = 50, cursor: str | None = None) -> Call[types.ChunkPage]:
    """List a document's chunks in their order."""
    return get(f"/api/documents/{document_id}/chunks", types.ChunkPage, limit=limit, cursor=cursor)


def patch_document(
    document_id: UUID, *, if_match: int | None = None, **changes: Unpack[types.DocumentChanges]
) -> Call[types.Document]:
    """Change what is said of a document; what is left out stays. Nothing is indexed again.

    It happens only to the revision `if_match`, when one is given; only without one may it be sent again.
    """
    return Call(
        "PATCH",
        f"/api/documents/{document_id}",
        types.Document,
        headers=condition(if_match),
        body=msgspec.json.encode(changes),
        repeatable=if_match is None,
    )


def delete_document(document_id: UUID, *, if_match: int | None = None) -> Call[None]:
    """Delete a document; it cannot be found when the answer is there."""
    path = f"/api/documents/{document_id}"
    return Call("DELETE", path, type(None), headers=condition(if_match), repeatable=True)


def delete_found_document(
    external_id: str, *, collection: str | None = None, if_match: int | None = None
) -> Call[None]:
    """Delete the document that its owner knows by `external_id`."""
    return Call(
        "DELETE",
        place(external_id),
        type(None),
        params_of(collection=collection),
        headers=condition(if_match),
        repeatable=True,
    )


def reindex(
    *,
    document_ids: Iterable[UUID] | None = None,
    collection: str | None = None,
    filters: types.Filter | None = None,
    cursor: str | None = None,
    idempotency_key: str | None = None,
) -> Call[types.Reindexing]:
    """Have documents indexed again: those to which everything given applies, but something must be given.

    With a `next_cursor` in the answer there are more: ask again with it.
    """
    body = {
        "document_ids": None if document_ids is None else list(document_ids),
        "collection": collection,
        "filter": filters,
        "cursor": cursor,
    }
    return post("/api/documents/reindex", body, types.Reindexing, idempotency_key=idempotency_key)


def inspect_index() -> Call[types.IndexReport]:
    """Compare a tenant's vectors with its documents; asks for the operator's key and a tenant."""
    return Call("GET", "/api/admin/index", types.IndexReport, repeatable=True, extra_seconds=60.0)


def repair_index(*, idempotency_key: str | None = None) -> Call[types.IndexReport]:
    """Mend a tenant's vectors; asks for the operator's key and a tenant."""
    path = "/api/admin/index/repair"
    return post(path, None, types.IndexReport, idempotency_key=idempotency_key, extra_seconds=60.0)
