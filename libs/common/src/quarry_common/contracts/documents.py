"""Collections, documents and jobs: `rpc.v1.indexer.*`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import ErrorData

DEFAULT_COLLECTION = "default"
"""The collection that every tenant has."""

CollectionName = Annotated[
    str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$(?!\n)", examples=["default"])
]
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


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job will never change again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class Stage(StrEnum):
    """What a running job is doing."""

    FETCH = "fetch"
    PARSE = "parse"
    CHUNK = "chunk"
    EMBED = "embed"
    INDEX = "index"


class DocumentStatus(StrEnum):
    """Whether a document can be found."""

    PENDING = "pending"
    """Accepted; no version is searchable yet."""
    SEARCHABLE = "searchable"
    FAILED = "failed"
    """Its only version could not be indexed."""


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
    file_name: str
    size_bytes: int
    chunk_count: int
    created_at: datetime
    updated_at: datetime


class Job(msgspec.Struct, frozen=True):
    """The work of making one version of a document searchable."""

    id: UUID
    document_id: UUID
    collection: str
    title: str
    version: int
    state: JobState
    stage: Stage | None
    chunks_done: int
    chunks_total: int | None
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: ErrorData | None = None


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
    idempotency_key: str | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A document is stored durably; its job is readable from now on."""

    document_id: UUID
    job_id: UUID
    version: int
    unchanged: bool = False
    """Whether an upsert found the same content: then the job is the one that indexed it."""


class DocumentRef(msgspec.Struct, frozen=True):
    """Names a document by id, or by collection and external id."""

    tenant_id: UUID
    document_id: UUID | None = None
    collection: str | None = None
    external_id: str | None = None


class Deleted(msgspec.Struct, frozen=True):
    """A document cannot be found any more."""

    document_id: UUID


class ListDocuments(msgspec.Struct, frozen=True):
    """Asks for documents, newest first."""

    tenant_id: UUID
    collection: str | None = None
    status: DocumentStatus | None = None
    limit: int = 50
    cursor: str | None = None


class DocumentPage(msgspec.Struct, frozen=True):
    """Some documents and where to go on."""

    documents: list[Document]
    next_cursor: str | None = None


class JobRef(msgspec.Struct, frozen=True):
    """Names a job."""

    tenant_id: UUID
    job_id: UUID


class ListJobs(msgspec.Struct, frozen=True):
    """Asks for jobs, newest first."""

    tenant_id: UUID
    state: JobState | None = None
    document_id: UUID | None = None
    limit: int = 50
    cursor: str | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs and where to go on."""

    jobs: list[Job]
    next_cursor: str | None = None


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents of one tenant, indexed by one embedder."""

    id: UUID
    name: str
    embedder_id: str
    document_count: int
    chunk_count: int
    created_at: datetime


class CollectionRef(msgspec.Struct, frozen=True):
    """Names a collection."""

    tenant_id: UUID
    name: CollectionName


class ListCollections(msgspec.Struct, frozen=True):
    """Asks for a tenant's collections by name."""

    tenant_id: UUID
    limit: int = 50
    cursor: str | None = None


class CollectionPage(msgspec.Struct, frozen=True):
    """Some collections and where to go on."""

    collections: list[Collection]
    next_cursor: str | None = None


class CollectionDeleted(msgspec.Struct, frozen=True):
    """A collection and all that was in it cannot be found any more."""

    name: str
    documents: int


ACCEPT = RpcMethod("indexer", "accept", Accept, Accepted)
GET_DOCUMENT = RpcMethod("indexer", "get_document", DocumentRef, Document)
LIST_DOCUMENTS = RpcMethod("indexer", "list_documents", ListDocuments, DocumentPage)
DELETE_DOCUMENT = RpcMethod("indexer", "delete_document", DocumentRef, Deleted)
GET_JOB = RpcMethod("indexer", "get_job", JobRef, Job)
LIST_JOBS = RpcMethod("indexer", "list_jobs", ListJobs, JobPage)
CREATE_COLLECTION = RpcMethod("indexer", "create_collection", CollectionRef, Collection)
GET_COLLECTION = RpcMethod("indexer", "get_collection", CollectionRef, Collection)
LIST_COLLECTIONS = RpcMethod("indexer", "list_collections", ListCollections, CollectionPage)
DELETE_COLLECTION = RpcMethod("indexer", "delete_collection", CollectionRef, CollectionDeleted)
