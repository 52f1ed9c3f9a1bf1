"""Documents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypedDict
from uuid import UUID

import msgspec

from quarry_client.types.system import Problem

PriorityName = Literal["interactive", "bulk"]
DocumentStatusName = Literal["pending", "searchable", "failed", "cancelled"]
SortName = Literal["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]

PRIORITIES: Final[tuple[PriorityName, ...]] = ("interactive", "bulk")
DOCUMENT_STATUSES: Final[tuple[DocumentStatusName, ...]] = ("pending", "searchable", "failed", "cancelled")
SORTS: Final[tuple[SortName, ...]] = (
    "created_at", "-created_at", "updated_at", "-updated_at", "title", "-title",
)  # fmt: skip

MetadataScalar = str | int | float | bool | None
MetadataValue = MetadataScalar | list[MetadataScalar]


class DocumentFields(TypedDict, total=False):
    """What a caller may say of a document; every field may be left out."""

    title: str
    doc_type: str
    tags: list[str]
    metadata: dict[str, MetadataValue]
    source_url: str
    allowed_principals: list[str]


class NewDocument(DocumentFields, total=False):
    """A document of text as one of many: its fields, its text and where it goes."""

    content: str
    external_id: str
    collection: str
    file_name: str
    """Name of the file that the content is of; it tells the type where bytes do not."""
    media_type: str


class DocumentChanges(TypedDict, total=False):
    """What may change of a document without indexing it again; None empties a field.

    Metadata is merged name by name, and None removes a name.
    """

    doc_type: str | None
    tags: list[str] | None
    metadata: Mapping[str, MetadataValue] | None
    source_url: str | None
    allowed_principals: list[str] | None


class Accepted(msgspec.Struct, frozen=True):
    """A document is stored durably; its job tells when it can be found."""

    document_id: UUID
    job_id: UUID
    version: int
    unchanged: bool = False
    """Whether the same content was there already; then the job is the one that indexed it. It is not told
    to those who waited until the document could be found."""
    revision: int = 0
    """The document's; a change may be made to depend on it. 0 when it was not told."""


class BatchItem(msgspec.Struct, frozen=True):
    """What became of one document of a batch: `accepted`, `unchanged`, or `rejected` as `error` tells."""

    index: int
    """Its place in the request, from 0."""
    status: str
    document_id: UUID | None = None
    job_id: UUID | None = None
    version: int | None = None
    revision: int | None = None
    error: Problem | None = None


class BatchReport(msgspec.Struct, frozen=True):
    """What became of the documents of a batch, in their order."""

    accepted: int
    unchanged: int
    rejected: int
    results: list[BatchItem]


class Document(msgspec.Struct, frozen=True):
    """A document as its owner sees it."""

    id: UUID
    collection: str
    title: str
    status: str
    created_at: datetime
    updated_at: datetime
    external_id: str | None = None
    doc_type: str | None = None
    tags: list[str] = []
    metadata: dict[str, MetadataValue] = {}
    source_url: str | None = None
    allowed_principals: list[str] | None = None
    version: int | None = None
    """The version that searches find; None before the first."""
    latest_version: int = 1
    revision: int = 0
    """Grows with every change; a change may be made to depend on it."""
    file_name: str = ""
    size_bytes: int = 0
    chunk_count: int = 0


class DocumentPage(msgspec.Struct, frozen=True):
    """Some documents, and where to go on."""

    documents: list[Document]
    next_cursor: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """A passage of a document."""

    id: UUID
    ordinal: int
    text: str
    heading_path: list[str] = []
    page: int | None = None
    char_start: int = 0
    char_end: int = 0
    """Where it stands in the document's text, in characters."""
    token_count: int = 0


class ChunkPage(msgspec.Struct, frozen=True):
    """Some chunks of a document in their order, and where to go on."""

    document_id: UUID
    version: int
    chunks: list[Chunk]
    next_cursor: str | None = None


class Reindexing(msgspec.Struct, frozen=True):
    """How many documents will be indexed again, and where to go on when there are more."""

    jobs: int
    next_cursor: str | None = None


class IndexReport(msgspec.Struct, frozen=True):
    """A tenant's vectors beside its documents."""

    documents: int
    chunks: int
    points: int
    missing: int
    """Chunks that are not found."""
    surplus: int
    """Points that should not be there."""
    hidden: int
    """Points that should be found and are not."""
    damaged_documents: int
    repaired: bool = False
