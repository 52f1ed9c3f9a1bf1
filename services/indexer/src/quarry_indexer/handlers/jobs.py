"""Jobs and dead letters: reading, cancelling, trying again, discarding."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import msgspec

from quarry_common import cursors
from quarry_common.contracts.commands import IndexDocument, PurgeDocuments
from quarry_common.contracts.events import JobCancelled
from quarry_common.contracts.jobs import (
    CANCEL_JOB,
    CANCEL_JOBS,
    DISCARD_DEAD_LETTERS,
    REPLAY_DEAD_LETTERS,
    RETRY_JOB,
    ChangeJob,
    ChangeJobs,
    Job,
    JobDetail,
    JobFilter,
    JobPage,
    JobRef,
    JobsChanged,
    JobState,
    ListDeadLetters,
    ListJobs,
)
from quarry_common.errors import NotFoundError
from quarry_common.messaging.outbox import Message, publish, told
from quarry_common.postgres.idempotency import ReplyT, Work, fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_indexer import SERVICE
from quarry_indexer.domain.errors import JobEndedError, JobOpenError, JobSupersededError
from quarry_indexer.domain.estimate import estimated_seconds
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.handlers.changes import bury
from quarry_indexer.handlers.documents import bounded
from quarry_indexer.indexing import counting
from quarry_indexer.repository import counts, documents, jobs, versions

_JOBS, _DEAD = "jobs", "dead_letters"
"""The lists, as their cursors name them."""
CHANGED_AT_ONCE = 1000
JUST_NOW = timedelta(seconds=2)

_Chosen: TypeAlias = tuple[list[UUID], bool]
"""Ids, and whether there are more."""


class Jobs:
    """Answers what is asked of jobs. `wake` and `purge` tell who has work by it."""

    def __init__(self, database: Database, wake: Callable[[], None], purge: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake
        self._purge = purge

    async def get(self, request: JobRef) -> JobDetail:
        """Return one job: its log, its place in the queue and when it may be over.

        One that has just ended is told of when whoever caches has heard of it, so that a search sent after
        this answer sees what the job wrote.
        """
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            job = await _found(connection, request.tenant_id, request.job_id)
            pace = None if job.state.final else await jobs.pace(connection, request.tenant_id, job)
        if pace is None:
            if job.finished_at is not None and datetime.now(UTC) - job.finished_at < JUST_NOW:
                await told(self._database, request.tenant_id, str(job.document_id))
            return job
        position = pace.before if job.state is JobState.QUEUED else None
        return msgspec.structs.replace(
            job, queue_position=position, estimated_seconds=estimated_seconds(job, pace)
        )

    async def list(self, request: ListJobs) -> JobPage:
        """Return some jobs, newest first."""
        return await self._page(request, _JOBS, state=request.state, dead=False)

    async def list_dead_letters(self, request: ListDeadLetters) -> JobPage:
        """Return some failed jobs that nobody has decided upon, newest first."""
        return await self._page(request, _DEAD, state=None, dead=True)

    async def _page(
        self, request: ListJobs | ListDeadLetters, name: str, *, state: JobState | None, dead: bool
    ) -> JobPage:
        limit = bounded(request.limit)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await jobs.page(
                connection,
                request.tenant_id,
                state=state,
                chosen=request.filter,
                dead=dead,
                before=cursors.decode_id(name, request.cursor),
                limit=limit + 1,
            )
        following = cursors.encode(name, str(found[limit - 1].id)) if len(found) > limit else None
        return JobPage(found[:limit], following)

    async def cancel(self, request: ChangeJob) -> Job:
        """Stop a job; what it has written is removed. One that is cancelled stays as it is."""

        async def work(connection: Connection) -> Job:
            job = await _found(connection, request.tenant_id, request.job_id)
            if job.state is JobState.CANCELLED:
                return _plain(job)
            await self._cancel(connection, request.tenant_id, [job.id])
            ended = await _found(connection, request.tenant_id, request.job_id)
            if ended.state is not JobState.CANCELLED:
                raise JobEndedError(f"The job has {ended.state.value}.")
            return _plain(ended)

        return await self._once(CANCEL_JOB.name, request, Job, work, self._purge)

    async def cancel_all(self, request: ChangeJobs) -> JobsChanged:
        """Stop the open jobs of a filter, up to a thousand at once."""

        async def work(connection: Connection) -> JobsChanged:
            states = [JobState.QUEUED, JobState.RUNNING]
            chosen = await jobs.ids(
                connection, request.tenant_id, states, request.filter, CHANGED_AT_ONCE + 1
            )
            done = await self._cancel(connection, request.tenant_id, chosen[:CHANGED_AT_ONCE])
            return JobsChanged(done, more=len(chosen) > CHANGED_AT_ONCE)

        return await self._once(CANCEL_JOBS.name, request, JobsChanged, work, self._purge)

    async def retry(self, request: ChangeJob) -> Job:
        """Let a job that failed or was cancelled begin anew."""

        async def work(connection: Connection) -> Job:
            job = await _found(connection, request.tenant_id, request.job_id)
            if not job.state.final:
                raise JobOpenError(f"The job is {job.state.value}.")
            if not await self._requeue(connection, job):
                raise JobSupersededError(
                    "The job has done its work."
                    if job.state is JobState.SUCCEEDED
                    else "Its document was deleted or replaced since."
                )
            await publish(
                connection, [Message(IndexDocument(job.id))], service=SERVICE, tenant_id=request.tenant_id
            )
            return _plain(await _found(connection, request.tenant_id, request.job_id))

        return await self._once(RETRY_JOB.name, request, Job, work, self._wake)

    async def replay(self, request: ChangeJobs) -> JobsChanged:
        """Let failed jobs of a filter begin anew; those whose document has moved on are discarded."""

        async def work(connection: Connection) -> JobsChanged:
            chosen, more = await self._dead(connection, request)
            found = [await _found(connection, request.tenant_id, job_id) for job_id in chosen]
            await documents.lock_many(connection, sorted({job.document_id for job in found}))
            done = 0
            for job in found:
                if await self._requeue(connection, job):
                    done += 1
                else:
                    await jobs.discard(connection, [job.id])
            if done:
                woken = [Message(IndexDocument(chosen[0]))]
                await publish(connection, woken, service=SERVICE, tenant_id=request.tenant_id)
            return JobsChanged(done, more)

        return await self._once(REPLAY_DEAD_LETTERS.name, request, JobsChanged, work, self._wake)

    async def discard(self, request: ChangeJobs) -> JobsChanged:
        """Give failed jobs of a filter up: their versions go, and documents that never had another."""

        async def work(connection: Connection) -> JobsChanged:
            chosen, more = await self._dead(connection, request)
            found = [await _found(connection, request.tenant_id, job_id) for job_id in chosen]
            rows = await documents.lock_many(connection, sorted({job.document_id for job in found}))
            # One that was tried again before its document was held is no dead letter any more.
            chosen = await jobs.ids(
                connection, request.tenant_id, [JobState.FAILED], JobFilter(job_ids=chosen), CHANGED_AT_ONCE
            )
            found = [job for job in found if job.id in set(chosen)]
            lost = {
                job.document_id
                for job in found
                if rows[job.document_id].alive
                and rows[job.document_id].current_version is None
                and rows[job.document_id].latest_version == job.version
            }
            freed = await bury(connection, request.tenant_id, [rows[identity] for identity in sorted(lost)])
            freed += await _discard(connection, [job for job in found if job.document_id not in lost])
            await jobs.discard(connection, chosen)
            await counting.change(connection, request.tenant_id, Usage() - freed)
            return JobsChanged(len(chosen), more)

        return await self._once(DISCARD_DEAD_LETTERS.name, request, JobsChanged, work, self._purge)

    async def _dead(self, connection: Connection, request: ChangeJobs) -> _Chosen:
        chosen = await jobs.ids(
            connection, request.tenant_id, [JobState.FAILED], request.filter, CHANGED_AT_ONCE + 1
        )
        return chosen[:CHANGED_AT_ONCE], len(chosen) > CHANGED_AT_ONCE

    async def _cancel(self, connection: Connection, tenant_id: UUID, job_ids: Sequence[UUID]) -> int:
        cancelled = await jobs.cancel(connection, "cancelled on request", job_ids=job_ids)
        keys = [(job.document_id, job.version) for job in cancelled]
        await versions.set_state(connection, keys, "cancelled")
        messages = [
            Message(JobCancelled(job.id, job.document_id, job.collection, job.attempt)) for job in cancelled
        ]
        if messages:
            messages.append(Message(PurgeDocuments()))
        await publish(connection, messages, service=SERVICE, tenant_id=tenant_id)
        return len(cancelled)

    async def _requeue(self, connection: Connection, job: Job) -> bool:
        """Let a job begin anew if its version is still the newest of its document."""
        row = await documents.lock(connection, job.document_id)
        if row is None or not row.alive or row.latest_version != job.version:
            return False
        if not await versions.revive(connection, job.document_id, job.version):
            return False
        await jobs.requeue(connection, job.id)
        return True

    async def _once(
        self,
        name: str,
        request: ChangeJob | ChangeJobs,
        reply: type[ReplyT],
        work: Work[ReplyT],
        then: Callable[[], None],
    ) -> ReplyT:
        digest = fingerprint(name, msgspec.structs.replace(request, idempotency_key=None))
        done, _ = await once(self._database, request.tenant_id, request.idempotency_key, digest, reply, work)
        then()
        return done


async def _discard(connection: Connection, failed: Sequence[Job]) -> Usage:
    """Discard the versions of failed jobs whose documents, held by the transaction, go on without them.

    Return what that frees: the versions before are counted again.
    """
    ids = list({job.document_id for job in failed})
    before = await counts.storage_bytes(connection, ids)
    await versions.set_state(connection, [(job.document_id, job.version) for job in failed], "discarded")
    return Usage(0, before - await counts.storage_bytes(connection, ids))


def _plain(job: JobDetail) -> Job:
    return Job(**{name: getattr(job, name) for name in Job.__struct_fields__})


async def _found(connection: Connection, tenant_id: UUID, job_id: UUID) -> JobDetail:
    job = await jobs.find(connection, tenant_id, job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id}.")
    return job
