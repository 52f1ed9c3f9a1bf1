"""When a job may be over, by the pace of its tenant's jobs."""

from datetime import UTC, datetime
from typing import Protocol

from quarry_common.contracts.jobs import Job, JobState

MIN_SECONDS = 1.0


class Pace(Protocol):
    """Where a job stands, and how fast the jobs before it go."""

    @property
    def before(self) -> int:
        """Jobs that come before it."""

    @property
    def finished(self) -> int:
        """Jobs that ended in the last minutes."""

    @property
    def seconds(self) -> float:
        """In how many seconds they did."""


def estimated_seconds(job: Job, pace: Pace, now: datetime | None = None) -> float | None:
    """Return in how many seconds the job is over, or None when nothing tells.

    A running job goes on as it went so far; a queued one waits for those before it, which end at the pace of
    the last minutes.
    """
    if job.state is JobState.RUNNING:
        if not job.chunks_total or not job.chunks_done or job.started_at is None:
            return None
        spent = ((now or datetime.now(UTC)) - job.started_at).total_seconds()
        return round(spent / job.chunks_done * (job.chunks_total - job.chunks_done), 1)
    if pace.finished < 2:
        return None
    return round((pace.before + 1) * max(pace.seconds, MIN_SECONDS) / pace.finished, 1)
