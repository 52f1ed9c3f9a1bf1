from quarry_common.contracts.usage import Quota
from quarry_common.errors import (
    ConflictError,
    NotFoundError,
    QuarryError,
    QuotaExceededError,
    ValidationError,
)


class CollectionMissingError(NotFoundError):
    """There is no collection of that name."""

    code = "collection_not_found"
    title = "There is no such collection"
    advice = "Create it with POST /api/collections, or leave `collection` out to use `default`."


class CollectionExistsError(ConflictError):
    """A collection of that name exists already."""

    code = "collection_exists"
    title = "The collection exists already"
    advice = "Use it as it is, or choose another name."


class DefaultCollectionError(ConflictError):
    """The collection that every tenant has cannot be deleted."""

    code = "default_collection"
    title = "The default collection cannot be deleted"
    advice = "Delete its documents instead."


class ExternalIdTakenError(ConflictError):
    """A document with that external id exists already."""

    code = "external_id_taken"
    title = "A document with this external id exists already"
    advice = "Use PUT /api/documents/by-external-id/{id} to replace it."


class EmbedderMismatchError(ConflictError):
    """The collection was indexed by another embedder than the one that runs."""

    code = "embedder_mismatch"
    title = "The collection belongs to another embedder"
    advice = "Configure the embedder that the collection was made with, or use a new collection."


class EmptyDocumentError(ValidationError):
    """There is neither title nor text."""

    code = "document_empty"
    title = "The document is empty"
    advice = "Give it a title, some content, or both."


class NoRoomError(QuotaExceededError):
    """A document does not fit into what is left of a quota."""

    def __init__(self, quota: Quota, detail: str) -> None:
        super().__init__(detail)
        self.quota = quota


class JobOpenError(ConflictError):
    """The job has not ended, so that it cannot be tried again."""

    code = "job_not_finished"
    title = "The job has not ended"
    advice = "Wait until it has, or cancel it first."


class JobEndedError(ConflictError):
    """The job has ended, so that it cannot be cancelled."""

    code = "job_finished"
    title = "The job has ended"
    advice = "Delete the document if it shall not be found."


class JobSupersededError(ConflictError):
    """The document was deleted or replaced since, so that the job cannot be tried again."""

    code = "job_superseded"
    title = "The document has moved on"
    advice = "Read the document; its newest job tells how it stands."


class FileMissingError(QuarryError):
    """The stored file of a document is gone."""

    code = "file_missing"
    status = 500
    title = "The stored file is gone"
    advice = "Upload the document again."


class JobAbandonedError(QuarryError):
    """The job was begun many times and never came to an end."""

    code = "job_abandoned"
    title = "The document could not be indexed"
    advice = "Upload it again; if it happens again, the file may be one that ends the process that reads it."


class LeaseLostError(Exception):
    """Another worker has taken the job, or it was cancelled: nothing more may be written for it."""
