"""How the work on documents goes on."""

from typing import ClassVar, Final
from uuid import UUID

from quarry_common.contracts.events.base import NO_WEBHOOKS, EventData, Way
from quarry_common.contracts.jobs import Stage
from quarry_common.errors import ErrorData


class _JobEvent(EventData, frozen=True):
    job_id: UUID
    document_id: UUID
    collection: str
    attempt: int

    @property
    def subject_id(self) -> str:
        return str(self.job_id)


class JobStarted(_JobEvent, frozen=True):
    """A worker has taken the job."""

    type: ClassVar[str] = "job.started"


class JobProgressed(_JobEvent, frozen=True):
    """A running job has come further. It is told at most once a second, only of jobs that take longer, and
    never after the job's end."""

    type: ClassVar[str] = "job.progressed"
    ways: ClassVar[frozenset[Way]] = NO_WEBHOOKS  # late it is worth nothing
    stage: Stage
    chunks_done: int
    chunks_total: int | None
    """Null until the document is read and cut."""
    progress: float | None
    """Share of the chunks that are done, 0 to 1."""


class JobCompleted(_JobEvent, frozen=True):
    """The job has done its work."""

    type: ClassVar[str] = "job.completed"
    chunk_count: int


class JobFailed(_JobEvent, frozen=True):
    """The job has ended without success."""

    type: ClassVar[str] = "job.failed"
    error: ErrorData


class JobCancelled(_JobEvent, frozen=True):
    """The job was stopped, because its document was deleted or replaced, or because somebody asked."""

    type: ClassVar[str] = "job.cancelled"


_OF: Final = (
    UUID("01931c2e-7b1b-7d02-9c41-5a2f7c0e8b33"),
    UUID("01931c2e-7b1a-7cc3-8a5e-0e3b1f6c2d10"),
    "handbook",
    1,
)

EXAMPLES: Final = (
    JobStarted(*_OF),
    JobProgressed(*_OF, Stage.EMBED, 320, 1_280, 0.25),
    JobCompleted(*_OF, 1_280),
    JobFailed(
        *_OF,
        ErrorData(
            "encrypted_file", 422, "Encrypted file", "The file is encrypted.", "Store it without a password."
        ),
    ),
    JobCancelled(*_OF),
)
"""One of each type."""
