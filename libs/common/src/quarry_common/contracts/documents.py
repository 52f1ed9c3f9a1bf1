"""Documents, from acceptance to deletion: `rpc.v1.indexer.*`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.collections import DEFAULT_COLLECTION, CollectionName
from quarry_common.contracts.filters import Filter
from quarry_common.contracts.jobs import Priority
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import ErrorData

MAX_BATCH = 100
"""Documents that one `accept_batch` takes; callers cut what is larger."""
MAX_CHOSEN = 1000
"""Documents that one request may name."""

Tag = Annotated[str, Meta(min_length=1, max_length=100)]
ExternalId = Annotated[str, Meta(min_length=1, max_length=500)]
MetadataScalar = str | int | float | bool | None
Metadata = dict[str, MetadataScalar | list[MetadataScalar]]
"""Flat: at most 100 names of at most 100 characters; values are scalars or lists of scalars."""


class DocumentFields(msgspec.Struct, frozen=True):
    """What its owner says of a document."""

    title: Annotated[str, Meta(max_length=1000)] = ""
    collection: CollectionName = DEFAULT_COLLECTION
    external_id: ExternalId | None = None
    doc_type: Annotated[str, Meta(max_length=50)] | None = None
    """Told from the bytes when it is not given."""
    tags: Annotated[list[Tag], Meta(max_length=100)] = []
    metadata: Metadata = {}
    source_url: Annotated[str, Meta(max_length=2000)] | None = None
    allowed_principals: Annotated[list[Tag], Meta(max_length=1000)] | None = None
    """Who may find it, when not everybody of the tenant may."""


class BlobRef(msgspec.Struct, frozen=True):
    """A body that the gateway has put into the blob store."""

    path: str
    size_bytes: int
    sha256: str
    file_name: str = ""
    declared_type: str = ""


class DocumentStatus(StrEnum):
    """Whether a document can be found."""

    PENDING = "pending"
    """Accepted; no version is searchable yet."""
    SEARCHABLE = "searchable"
    FAILED = "failed"
    """Its only version could not be indexed."""
    CANCELLED = "cancelled"
    """The job of its only version was cancelled; it can be tried again."""


class Document(msgspec.Struct, frozen=True):
    """A document as its owner sees it."""

    id: UUID
    collection: str
    external_id: str | None
    title: str
    doc_type: str | None
    tags: list[str]
    metadata: Metadata
    source_url: str | None
    allowed_principals: list[str] | None
    status: DocumentStatus
    version: int | None
    """The version that searches find; None before the first."""
    latest_version: int
    """The version that was accepted last."""
    revision: int
    """Grows with every change that somebody asked for; an ETag is made of it."""
    file_name: str
    size_bytes: int
    chunk_count: int
    created_at: datetime
    updated_at: datetime


class Room(msgspec.Struct, frozen=True):
    """What a tenant may have in all; None is no limit. It comes with what is to be taken in."""

    documents: int | None = None
    storage_bytes: int | None = None


class Accept(msgspec.Struct, frozen=True):
    """Asks that a document be stored durably and indexed.

    `upsert` replaces the document of the same external id; otherwise an external id that is taken is a
    conflict. `idempotency_key` makes a repeated request give the first answer for 24 hours.
    """

    tenant_id: UUID
    document: DocumentFields
    blob: BlobRef | None
    """None for a document that has a title and no text."""
    upsert: bool = False
    priority: Priority = Priority.INTERACTIVE
    condition: "Condition | None" = None
    idempotency_key: str | None = None
    room: Room = Room()


class Condition(msgspec.Struct, frozen=True):
    """What must be true of a document for a change to happen (RFC 9110, `If-Match` and `If-None-Match`)."""

    revisions: list[int] | None = None
    """It exists and its revision is one of these; None for any revision."""
    missing: bool = False
    """There is no such document; then `revisions` means nothing."""


class Accepted(msgspec.Struct, frozen=True):
    """A document is stored durably; its job is readable from now on."""

    document_id: UUID
    job_id: UUID
    version: int
    unchanged: bool = False
    """Whether an upsert found the same content: then the job is the one that indexed it."""
    revision: int = 0


class BatchItem(msgspec.Struct, frozen=True):
    """One document of a batch."""

    document: DocumentFields
    blob: BlobRef | None


class AcceptBatch(msgspec.Struct, frozen=True):
    """Asks that up to `MAX_BATCH` documents be stored durably, in one transaction, and indexed.

    A document that is refused does not keep the others from being accepted.
    """

    tenant_id: UUID
    items: list[BatchItem]
    upsert: bool = False
    priority: Priority = Priority.BULK
    idempotency_key: str | None = None
    request_sha256: bytes = b""
    """Digest of the whole request of which these are a part: what must be equal under an idempotency key."""
    room: Room = Room()


class BatchResult(msgspec.Struct, frozen=True):
    """What became of one document of a batch; one of the two is given."""

    accepted: Accepted | None = None
    error: ErrorData | None = None


class AcceptedBatch(msgspec.Struct, frozen=True):
    """What became of the documents of a batch, in their order."""

    results: list[BatchResult]


class DocumentRef(msgspec.Struct, frozen=True):
    """Names a document by id, or by collection and external id."""

    tenant_id: UUID
    document_id: UUID | None = None
    collection: str | None = None
    external_id: str | None = None


class DeleteDocument(DocumentRef, frozen=True):
    """Asks that a document be found no more and removed from every store."""

    condition: Condition | None = None


class Deleted(msgspec.Struct, frozen=True):
    """A document cannot be found any more."""

    document_id: UUID


class DocumentPatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may change of a document without indexing it again (RFC 7396): what is left out stays.

    `metadata` is merged name by name, and null removes a name; of the others null empties the field.
    """

    doc_type: Annotated[str, Meta(max_length=50)] | msgspec.UnsetType | None = msgspec.UNSET
    tags: Annotated[list[Tag], Meta(max_length=100)] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType | None = msgspec.UNSET
    source_url: Annotated[str, Meta(max_length=2000)] | msgspec.UnsetType | None = msgspec.UNSET
    allowed_principals: Annotated[list[Tag], Meta(max_length=1000)] | msgspec.UnsetType | None = msgspec.UNSET


class PatchDocument(DocumentRef, frozen=True, kw_only=True):
    """Asks for a change of what is said of a document."""

    patch: DocumentPatch
    condition: Condition | None = None


class Order(StrEnum):
    """What a list of documents is sorted by; documents with equal values are in the order of their ids."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    TITLE = "title"


class ListDocuments(msgspec.Struct, frozen=True):
    """Asks for documents."""

    tenant_id: UUID
    collection: str | None = None
    status: DocumentStatus | None = None
    filters: Filter | None = None
    order: Order = Order.CREATED_AT
    descending: bool = True
    limit: int = 50
    cursor: str | None = None


class DocumentPage(msgspec.Struct, frozen=True):
    """Some documents and where to go on."""

    documents: list[Document]
    next_cursor: str | None = None


class Content(msgspec.Struct, frozen=True):
    """Where a document's extracted text is in the blob store: UTF-8."""

    path: str
    version: int
    revision: int


class ListChunks(DocumentRef, frozen=True, kw_only=True):
    """Asks for the chunks of a document's searchable version, in order."""

    limit: int = 50
    cursor: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """A passage of a document."""

    id: UUID
    ordinal: int
    """Place among the document's chunks, from 0."""
    heading_path: list[str]
    page: int | None
    char_start: int
    char_end: int
    """Where it stands in the extracted text, in characters."""
    token_count: int
    text: str


class ChunkPage(msgspec.Struct, frozen=True):
    """Some chunks of one version and where to go on."""

    document_id: UUID
    version: int
    chunks: list[Chunk]
    next_cursor: str | None = None


class Reindex(msgspec.Struct, frozen=True):
    """Asks that documents be parsed, cut and indexed again: those to which everything given applies.

    Those that wait to be indexed anyway are left alone, so that a repetition does no more.
    """

    tenant_id: UUID
    document_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_CHOSEN)] | None = None
    collection: str | None = None
    filters: Filter | None = None
    cursor: str | None = None
    idempotency_key: str | None = None


class Reindexing(msgspec.Struct, frozen=True):
    """Documents that will be indexed again."""

    jobs: int
    """How many jobs were made."""
    next_cursor: str | None = None
    """Where to go on, when there are more than one request takes."""


class InspectIndex(msgspec.Struct, frozen=True):
    """Asks how far the vector index is from what Postgres says of a tenant; `repair` mends it."""

    tenant_id: UUID
    repair: bool = False
    idempotency_key: str | None = None


class IndexReport(msgspec.Struct, frozen=True):
    """A tenant's chunks and points side by side."""

    documents: int
    """Documents that searches should find."""
    chunks: int
    """Their chunks."""
    points: int
    """Points that searches do find."""
    missing: int
    """Chunks without a point that is found."""
    surplus: int
    """Points of no version that is searchable or being indexed."""
    hidden: int
    """Points that are there and should be found, but are not active."""
    damaged_documents: int
    """Documents with something missing or hidden."""
    repaired: bool = False
    """Whether the surplus was removed, the hidden shown and the damaged documents queued to be indexed."""


ACCEPT = RpcMethod("indexer", "accept", Accept, Accepted)
ACCEPT_BATCH = RpcMethod("indexer", "accept_batch", AcceptBatch, AcceptedBatch)
GET_DOCUMENT = RpcMethod("indexer", "get_document", DocumentRef, Document)
LIST_DOCUMENTS = RpcMethod("indexer", "list_documents", ListDocuments, DocumentPage)
PATCH_DOCUMENT = RpcMethod("indexer", "patch_document", PatchDocument, Document)
DELETE_DOCUMENT = RpcMethod("indexer", "delete_document", DeleteDocument, Deleted)
GET_CONTENT = RpcMethod("indexer", "get_content", DocumentRef, Content)
LIST_CHUNKS = RpcMethod("indexer", "list_chunks", ListChunks, ChunkPage)
REINDEX = RpcMethod("indexer", "reindex", Reindex, Reindexing)
INSPECT_INDEX = RpcMethod("indexer", "inspect_index", InspectIndex, IndexReport)
