"""Reading and deleting documents, reading jobs."""

from collections.abc import Callable
from uuid import UUID

from quarry_common import cursors
from quarry_common.contracts.commands import PurgeDocuments
from quarry_common.contracts.documents import (
    Deleted,
    Document,
    DocumentPage,
    DocumentRef,
    Job,
    JobPage,
    JobRef,
    ListDocuments,
    ListJobs,
)
from quarry_common.contracts.events import DocumentDeleted, JobCancelled
from quarry_common.errors import NotFoundError
from quarry_common.ids import document_id_for
from quarry_common.messaging.outbox import publish_command, publish_event
from quarry_common.postgres.pool import Connection, Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer import SERVICE
from quarry_indexer.repository import documents, jobs

MAX_LIMIT = 100
_DOCUMENTS, _JOBS = "documents", "jobs"
"""The lists, as their cursors name them."""


def bounded(limit: int) -> int:
    """Return how many entries a page may have."""
    return max(1, min(limit, MAX_LIMIT))


class Documents:
    """Answers what is asked of documents and jobs."""

    def __init__(self, database: Database, index: VectorIndex, purge: Callable[[], None]) -> None:
        self._database = database
        self._index = index
        self._purge = purge

    async def get(self, request: DocumentRef) -> Document:
        """Return one document."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await documents.find(connection, request.tenant_id, _id(request))
        if found is None:
            raise _missing(request)
        return found

    async def list(self, request: ListDocuments) -> DocumentPage:
        """Return some documents, newest first."""
        limit = bounded(request.limit)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await documents.page(
                connection,
                request.tenant_id,
                collection=request.collection,
                status=request.status,
                before=cursors.decode_id(_DOCUMENTS, request.cursor),
                limit=limit + 1,
            )
        following = cursors.encode(_DOCUMENTS, str(found[limit - 1].id)) if len(found) > limit else None
        return DocumentPage(found[:limit], following)

    async def delete(self, request: DocumentRef) -> Deleted:
        """Make a document unfindable, now; its remains are purged afterwards.

        The tombstone is committed before the points go: a job at its fence, or a purge after a crash,
        sees it.
        """
        tenant_id, document_id = request.tenant_id, _id(request)
        async with self._database.tenant_transaction(tenant_id) as connection:
            latest = await self._bury(connection, request, document_id)
        # Only what was there: the same external id may be coming back at this very moment.
        await self._index.delete_versions(tenant_id, document_id, below=latest + 1)
        self._purge()
        return Deleted(document_id)

    async def _bury(self, connection: Connection, request: DocumentRef, document_id: UUID) -> int:
        row = await documents.lock(connection, document_id)
        if row is None or row.deleted_at is not None or row.latest_version == 0:
            raise _missing(request)
        for job in await jobs.cancel(connection, document_id, queued_only=False):
            cancelled = JobCancelled(job.id, document_id, row.collection, job.attempt)
            await publish_event(connection, cancelled, service=SERVICE, tenant_id=request.tenant_id)
        await documents.bury(connection, document_id)
        deleted = DocumentDeleted(document_id, row.collection, row.external_id)
        await publish_event(connection, deleted, service=SERVICE, tenant_id=request.tenant_id)
        await publish_command(connection, PurgeDocuments(), tenant_id=request.tenant_id)
        return row.latest_version

    async def get_job(self, request: JobRef) -> Job:
        """Return one job."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await jobs.find(connection, request.tenant_id, request.job_id)
        if found is None:
            raise NotFoundError(f"There is no job {request.job_id}.")
        return found

    async def list_jobs(self, request: ListJobs) -> JobPage:
        """Return some jobs, newest first."""
        limit = bounded(request.limit)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await jobs.page(
                connection,
                request.tenant_id,
                state=request.state,
                document_id=request.document_id,
                before=cursors.decode_id(_JOBS, request.cursor),
                limit=limit + 1,
            )
        following = cursors.encode(_JOBS, str(found[limit - 1].id)) if len(found) > limit else None
        return JobPage(found[:limit], following)


def _id(request: DocumentRef) -> UUID:
    if request.document_id is not None:
        return request.document_id
    if request.collection is None or request.external_id is None:
        raise NotFoundError("Neither an id nor an external id was given.")
    return document_id_for(request.tenant_id, request.collection, request.external_id)


def _missing(request: DocumentRef) -> NotFoundError:
    return NotFoundError(f"There is no document {request.document_id or request.external_id!r}.")
