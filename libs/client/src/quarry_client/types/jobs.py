"""Jobs and dead letters."""

from datetime import datetime
from typing import Final, Literal, TypedDict
from uuid import UUID

import msgspec

JobStateName = Literal["queued", "running", "succeeded", "failed", "cancelled"]

JOB_STATES: Final[tuple[JobStateName, ...]] = ("queued", "running", "succeeded", "failed", "cancelled")


class JobFilter(TypedDict, total=False):
    """What jobs have in common: those are meant to which everything given applies."""

    document_id: UUID
    collection: str
    code: str
    """Of the error that the job ended with."""
    created_after: datetime
    created_before: datetime
    """Times have a zone."""


class JobChoice(JobFilter, total=False):
    """Which jobs are meant: the same, and those of `job_ids` alone."""

    job_ids: list[UUID]


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
    priority: str = "interactive"
    chunks_done: int = 0
    chunks_total: int | None = None
    attempt: int = 0
    revision: int = 0
    """Grows with every change of the job."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_attempt_at: datetime | None = None
    """When it is tried again, while it waits after an error."""
    error: JobError | None = None

    @property
    def final(self) -> bool:
        """Whether the job is over; it changes no more unless somebody tries it again."""
        return self.state in {"succeeded", "failed", "cancelled"}


class LogLine(msgspec.Struct, frozen=True):
    """Something that happened to a job."""

    at: datetime
    message: str
    attempt: int = 0


class JobDetail(Job, frozen=True):
    """A job with what is told of one alone."""

    queue_position: int | None = None
    """How many jobs come before it, while it is queued."""
    estimated_seconds: float | None = None
    log: list[LogLine] = []


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs, newest first, and where to go on."""

    jobs: list[Job]
    next_cursor: str | None = None


class JobsChanged(msgspec.Struct, frozen=True):
    """How many jobs a request changed, and whether some are left: then it is sent again."""

    jobs: int
    more: bool = False
