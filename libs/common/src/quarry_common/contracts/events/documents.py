"""What becomes of documents."""

from typing import ClassVar, Final
from uuid import UUID

from quarry_common.contracts.events.base import EventData
from quarry_common.errors import ErrorData


class DocumentUploaded(EventData, frozen=True):
    """A version of a document is stored durably and will be indexed."""

    type: ClassVar[str] = "document.uploaded"
    document_id: UUID
    job_id: UUID
    collection: str
    external_id: str | None
    version: int
    title: str
    size_bytes: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentIndexed(EventData, frozen=True):
    """A document can be found for the first time."""

    type: ClassVar[str] = "document.indexed"
    document_id: UUID
    job_id: UUID
    collection: str
    external_id: str | None
    version: int
    chunk_count: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentUpdated(EventData, frozen=True):
    """A document says something else: a new version has taken the place of the one before, or what is said
    of it was changed without a job."""

    type: ClassVar[str] = "document.updated"
    document_id: UUID
    job_id: UUID | None
    collection: str
    external_id: str | None
    version: int
    revision: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentIndexingFailed(EventData, frozen=True):
    """A version of a document could not be indexed; what was found before is found still."""

    type: ClassVar[str] = "document.indexing_failed"
    document_id: UUID
    job_id: UUID
    collection: str
    external_id: str | None
    version: int
    error: ErrorData

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentDeleted(EventData, frozen=True):
    """A document cannot be found any more."""

    type: ClassVar[str] = "document.deleted"
    document_id: UUID
    collection: str
    external_id: str | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


_DOCUMENT: Final = UUID("01931c2e-7b1a-7cc3-8a5e-0e3b1f6c2d10")
_JOB: Final = UUID("01931c2e-7b1b-7d02-9c41-5a2f7c0e8b33")

EXAMPLES: Final = (
    DocumentUploaded(_DOCUMENT, _JOB, "handbook", "travel-policy", 1, "Travel policy", 48_213),
    DocumentIndexed(_DOCUMENT, _JOB, "handbook", "travel-policy", 1, 37),
    DocumentUpdated(_DOCUMENT, _JOB, "handbook", "travel-policy", 2, 5),
    DocumentIndexingFailed(
        _DOCUMENT,
        _JOB,
        "handbook",
        "travel-policy",
        2,
        ErrorData(
            "encrypted_file", 422, "Encrypted file", "The file is encrypted.", "Store it without a password."
        ),
    ),
    DocumentDeleted(_DOCUMENT, "handbook", "travel-policy"),
)
"""One of each type."""
