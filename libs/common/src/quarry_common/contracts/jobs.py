"""Jobs and dead letters: `rpc.v1.indexer.*job*`, `rpc.v1.indexer.*dead_letters`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import ErrorData

MAX_CHOSEN = 1000
"""Jobs that one request may name."""


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job will not change any more, unless somebody asks for it."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class Stage(StrEnum):
    """What a running job is doing."""

    FETCH = "fetch"
    PARSE = "parse"
    CHUNK = "chunk"
    EMBED = "embed"
    INDEX = "index"


class Priority(StrEnum):
    """Which of a tenant's own jobs come first. Between tenants it means nothing."""

    INTERACTIVE = "interactive"
    """Somebody waits for it."""
    BULK = "bulk"
    """Part of an import or a re-index: every fourth turn at least, the rest when nothing else waits."""


class LogLine(msgspec.Struct, frozen=True):
    """Something that happened to a job."""

    at: datetime
    attempt: int
    message: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The work of making one version of a document searchable."""

    id: UUID
    document_id: UUID
    collection: str
    title: str
    version: int
    state: JobState
    stage: Stage | None
    priority: Priority = Priority.INTERACTIVE
    chunks_done: int
    chunks_total: int | None
    attempt: int
    """How often a worker has begun it."""
    revision: int = 0
    """Grows with every change of the job; the id of its progress events."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_attempt_at: datetime | None = None
    """When it is tried again, while it waits after an error."""
    error: ErrorData | None = None
    """What the last attempt ended with, if it was an error."""


class JobDetail(Job, frozen=True, kw_only=True):
    """A job with what is told of one alone."""

    queue_position: int | None = None
    """How many of the tenant's jobs come before it; 0 is the next. None unless it is queued."""
    estimated_seconds: float | None = None
    """When it will be over by the pace of the last minutes; None when that tells nothing."""
    log: list[LogLine] = []
    """Oldest first; of a long story the last 100 lines."""


class JobRef(msgspec.Struct, frozen=True):
    """Names a job."""

    tenant_id: UUID
    job_id: UUID


class ChangeJob(msgspec.Struct, frozen=True):
    """Asks that a job be cancelled or tried again."""

    tenant_id: UUID
    job_id: UUID
    idempotency_key: str | None = None


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs are meant: those to which everything given applies."""

    job_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_CHOSEN)] | None = None
    document_id: UUID | None = None
    collection: str | None = None
    code: Annotated[str, Meta(max_length=100)] | None = None
    """Code of the error that the job ended with."""
    created_after: datetime | None = None
    created_before: datetime | None = None


class ListJobs(msgspec.Struct, frozen=True):
    """Asks for jobs, newest first."""

    tenant_id: UUID
    state: JobState | None = None
    filter: JobFilter = JobFilter()
    limit: int = 50
    cursor: str | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs and where to go on."""

    jobs: list[Job]
    next_cursor: str | None = None


class ChangeJobs(msgspec.Struct, frozen=True):
    """Asks that all jobs of a filter be cancelled, replayed or discarded, whichever the method says."""

    tenant_id: UUID
    filter: JobFilter
    idempotency_key: str | None = None


class JobsChanged(msgspec.Struct, frozen=True):
    """How many jobs a request changed."""

    jobs: int
    more: bool = False
    """Whether some are left because one request changes so many at most: send it again, without the key."""


class ListDeadLetters(msgspec.Struct, frozen=True):
    """Asks for failed jobs that nobody has decided upon, newest first."""

    tenant_id: UUID
    filter: JobFilter = JobFilter()
    limit: int = 50
    cursor: str | None = None


GET_JOB = RpcMethod("indexer", "get_job", JobRef, JobDetail)
LIST_JOBS = RpcMethod("indexer", "list_jobs", ListJobs, JobPage)
CANCEL_JOB = RpcMethod("indexer", "cancel_job", ChangeJob, Job)
RETRY_JOB = RpcMethod("indexer", "retry_job", ChangeJob, Job)
CANCEL_JOBS = RpcMethod("indexer", "cancel_jobs", ChangeJobs, JobsChanged)
LIST_DEAD_LETTERS = RpcMethod("indexer", "list_dead_letters", ListDeadLetters, JobPage)
REPLAY_DEAD_LETTERS = RpcMethod("indexer", "replay_dead_letters", ChangeJobs, JobsChanged)
DISCARD_DEAD_LETTERS = RpcMethod("indexer", "discard_dead_letters", ChangeJobs, JobsChanged)
