"""What the API takes and gives back.

Answers ignore fields that they do not know, and states are plain strings, so that a client goes on
working with a server that is newer than itself.
"""

from datetime import datetime
from typing import Final, Literal, TypedDict
from uuid import UUID

import msgspec

from quarry_client.errors import FieldError

Mode = Literal["hybrid", "semantic", "keyword"]
JobStateName = Literal["queued", "running", "succeeded", "failed", "cancelled"]
DocumentStatusName = Literal["pending", "searchable", "failed"]
KeyLabelName = Literal["live", "test"]

MODES: Final[tuple[Mode, ...]] = ("hybrid", "semantic", "keyword")
JOB_STATES: Final[tuple[JobStateName, ...]] = ("queued", "running", "succeeded", "failed", "cancelled")
DOCUMENT_STATUSES: Final[tuple[DocumentStatusName, ...]] = ("pending", "searchable", "failed")
KEY_LABELS: Final[tuple[KeyLabelName, ...]] = ("live", "test")

MetadataScalar = str | int | float | bool | None
MetadataValue = MetadataScalar | list[MetadataScalar]
Filter = dict[str, object]
"""A filter as the API's reference describes it; it travels as it is."""


class DocumentFields(TypedDict, total=False):
    """What a caller may say of a document; every field may be left out."""

    title: str
    doc_type: str
    tags: list[str]
    metadata: dict[str, MetadataValue]
    source_url: str
    allowed_principals: list[str]


class Accepted(msgspec.Struct, frozen=True):
    """A document is stored durably; its job tells when it can be found."""

    document_id: UUID
    job_id: UUID
    version: int
    unchanged: bool = False
    """Whether the same content was there already; then the job is the one that indexed it."""


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
    file_name: str = ""
    size_bytes: int = 0
    chunk_count: int = 0


class DocumentPage(msgspec.Struct, frozen=True):
    """Some documents, newest first, and where to go on."""

    documents: list[Document]
    next_cursor: str | None = None


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed; `status` below 500 means that the file itself is at fault."""

    code: str
    detail: str = ""
    title: str = ""
    advice: str = ""
    status: int = 500


class Job(msgspec.Struct, frozen=True):
    """The work of making one version of a document searchable."""

    id: UUID
    document_id: UUID
    state: str
    created_at: datetime
    collection: str = ""
    title: str = ""
    version: int = 1
    stage: str | None = None
    chunks_done: int = 0
    chunks_total: int | None = None
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: JobError | None = None

    @property
    def final(self) -> bool:
        """Whether the job will never change again."""
        return self.state in {"succeeded", "failed", "cancelled"}


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs, newest first, and where to go on."""

    jobs: list[Job]
    next_cursor: str | None = None


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents, indexed by one embedder."""

    id: UUID
    name: str
    created_at: datetime
    embedder_id: str = ""
    document_count: int = 0
    chunk_count: int = 0


class CollectionPage(msgspec.Struct, frozen=True):
    """Some collections and where to go on."""

    collections: list[Collection]
    next_cursor: str | None = None


class Result(msgspec.Struct, frozen=True):
    """A cited passage."""

    document_id: UUID
    chunk_id: UUID
    title: str
    text: str
    score: float
    collection: str
    created_at: datetime
    version: int = 1
    external_id: str | None = None
    heading_path: list[str] = []
    page: int | None = None
    char_start: int = 0
    char_end: int = 0
    highlights: list[str] = []
    """Excerpts with `<mark>` around what matched; everything else in them is HTML-escaped."""
    doc_type: str = ""
    tags: list[str] = []
    metadata: dict[str, MetadataValue] = {}
    source_url: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """The passages that a search found, best first."""

    query_id: UUID
    mode: str
    query: str
    total: int
    results: list[Result]
    timings_ms: dict[str, float] = {}
    next_cursor: str | None = None


class ApiKey(msgspec.Struct, frozen=True):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    label: str
    scopes: list[str]
    created_at: datetime
    metadata: dict[str, str] = {}
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key with its secret, which cannot be read again."""

    key: str
    api_key: ApiKey


class KeyPage(msgspec.Struct, frozen=True):
    """Some keys and where to go on."""

    keys: list[ApiKey]
    next_cursor: str | None = None


class Tenant(msgspec.Struct, frozen=True):
    """An organization whose data is apart from every other's."""

    id: UUID
    slug: str
    name: str
    created_at: datetime
    disabled: bool = False


class TenantPage(msgspec.Struct, frozen=True):
    """Some tenants and where to go on."""

    tenants: list[Tenant]
    next_cursor: str | None = None


class HealthCheck(msgspec.Struct, frozen=True):
    """How one dependency is."""

    status: str
    latency_ms: float | None = None


class Health(msgspec.Struct, frozen=True):
    """How the installation is: `healthy` or `degraded`, and each dependency."""

    status: str
    version: str = ""
    checks: dict[str, HealthCheck] = {}


class Version(msgspec.Struct, frozen=True):
    """Which release answers."""

    version: str


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem document as the API writes it."""

    code: str = ""
    title: str = ""
    detail: str = ""
    advice: str = ""
    errors: list[FieldError] = []
    request_id: str = ""
