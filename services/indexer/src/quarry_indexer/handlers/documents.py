"""Reading documents: one, many, their text and their chunks."""

import json
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common import cursors
from quarry_common.blobs import BlobStore
from quarry_common.contracts.documents import (
    Chunk,
    ChunkPage,
    Content,
    Document,
    DocumentPage,
    DocumentRef,
    ListChunks,
    ListDocuments,
    Order,
)
from quarry_common.errors import FieldError, NotFoundError, ValidationError
from quarry_common.ids import chunk_id_for, document_id_for
from quarry_common.postgres.pool import Connection, Database
from quarry_indexer.indexing.passages import Passage, read_passages
from quarry_indexer.repository import chunks, documents, versions
from quarry_indexer.repository.documents import Position
from quarry_indexer.repository.versions import VersionRow

MAX_LIMIT = 100
_DOCUMENTS, _CHUNKS = "documents", "chunks"
"""The lists, as their cursors name them."""


def bounded(limit: int) -> int:
    """Return how many entries a page may have."""
    return max(1, min(limit, MAX_LIMIT))


class Documents:
    """Answers what is asked of documents."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    async def get(self, request: DocumentRef) -> Document:
        """Return one document."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            return await found(connection, request)

    async def list(self, request: ListDocuments) -> DocumentPage:
        """Return some documents in the order asked for."""
        limit = bounded(request.limit)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            page = await documents.page(
                connection,
                request.tenant_id,
                collection=request.collection,
                status=request.status,
                filters=request.filters,
                order=request.order,
                descending=request.descending,
                after=_position(request),
                limit=limit + 1,
            )
        return DocumentPage(page[:limit], _after(request, page[limit - 1]) if len(page) > limit else None)

    async def content(self, request: DocumentRef) -> Content:
        """Return where the text of a document's searchable version is."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            document = await found(connection, request)
            version = await self._searchable(connection, document)
        return Content(version.text_path or "", version.version, document.revision)

    async def list_chunks(self, request: ListChunks) -> ChunkPage:
        """Return some chunks of a document's searchable version with their texts."""
        limit = bounded(request.limit)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            document = await found(connection, request)
            version = await self._searchable(connection, document)
            first = _ordinal(request.cursor, version.version)
            part = await chunks.page(connection, version.document_id, version.version, first, limit + 1)
        read = (
            await read_passages(self._blobs.of(request.tenant_id), version.text_path or "", part[:limit])
            if part
            else []
        )
        more = f"{version.version}.{part[limit].ordinal}" if len(part) > limit else None
        return ChunkPage(
            document.id,
            version.version,
            [_chunk(version, passage) for passage in read],
            cursors.encode(_CHUNKS, more) if more else None,
        )

    async def _searchable(self, connection: Connection, document: Document) -> VersionRow:
        key = (document.id, document.version or 0)
        version = (await versions.find(connection, [key])).get(key)
        if version is None or version.text_path is None:
            raise NotFoundError(
                f"The document {document.id} has no text yet: it is {document.status.value}.",
                advice="Wait until its job has succeeded.",
            )
        return version


def document_id(request: DocumentRef) -> UUID:
    """Return the id of the document that `request` names."""
    if request.document_id is not None:
        return request.document_id
    if request.collection is None or request.external_id is None:
        raise NotFoundError("Neither an id nor an external id was given.")
    return document_id_for(request.tenant_id, request.collection, request.external_id)


async def found(connection: Connection, request: DocumentRef) -> Document:
    """Return the document that `request` names. Raises `NotFoundError`."""
    document = await documents.find(connection, request.tenant_id, document_id(request))
    if document is None:
        raise missing(request)
    return document


def missing(request: DocumentRef) -> NotFoundError:
    """Return the error that there is no such document."""
    return NotFoundError(f"There is no document {request.document_id or request.external_id!r}.")


def _chunk(version: VersionRow, passage: Passage) -> Chunk:
    chunk = passage.chunk
    return Chunk(
        id=chunk_id_for(version.document_id, version.version, chunk.ordinal),
        ordinal=chunk.ordinal,
        heading_path=list(chunk.heading_path),
        page=chunk.page,
        char_start=chunk.char_start,
        char_end=chunk.char_end,
        token_count=chunk.token_count,
        text=passage.text,
    )


def _ordinal(cursor: str | None, version: int) -> int:
    if cursor is None:
        return 0
    of, _, ordinal = cursors.decode(_CHUNKS, cursor).partition(".")
    if of != str(version) or not ordinal.isdecimal() or len(ordinal) > 9:
        message = "belongs to another version of the document; begin again without it"
        raise ValidationError("The cursor is not valid.", errors=[FieldError("cursor", message)])
    return int(ordinal)


def _after(request: ListDocuments, last: Document) -> str:
    value = {
        Order.CREATED_AT: last.created_at,
        Order.UPDATED_AT: last.updated_at,
        Order.TITLE: last.title,
    }[request.order]
    shown = value.isoformat() if isinstance(value, datetime) else value
    return cursors.encode(_DOCUMENTS, json.dumps([request.order, request.descending, shown, str(last.id)]))


def _position(request: ListDocuments) -> Position | None:
    if request.cursor is None:
        return None
    try:
        order, descending, value, last = msgspec.json.decode(
            cursors.decode(_DOCUMENTS, request.cursor), type=tuple[Order, bool, str, UUID]
        )
        if (order, descending) != (request.order, request.descending):
            message = "belongs to another order; use it with the `sort` of the list that gave it"
            raise ValidationError("The cursor is not valid.", errors=[FieldError("cursor", message)])
        return (value if order is Order.TITLE else datetime.fromisoformat(value)), last
    except (msgspec.MsgspecError, ValueError):
        message = "is not a cursor of this list; use `next_cursor` of the answer before, unchanged"
        raise ValidationError("The cursor is not valid.", errors=[FieldError("cursor", message)]) from None
