"""Jobs and dead letters."""

from typing import Unpack
from uuid import UUID

from quarry_client import types
from quarry_client.calls.call import Call, get, post


def list_jobs(
    *,
    state: types.JobStateName | None = None,
    limit: int = 50,
    cursor: str | None = None,
    **wanted: Unpack[types.JobFilter],
) -> Call[types.JobPage]:
    """List jobs, newest first."""
    return get("/api/jobs", types.JobPage, state=state, limit=limit, cursor=cursor, **wanted)


def get_job(job_id: UUID) -> Call[types.JobDetail]:
    """Read a job with its place in the queue and its log."""
    return get(f"/api/jobs/{job_id}", types.JobDetail)


def watch_job(job_id: UUID) -> Call[types.Job]:
    """Be told a job's states until it is over."""
    return get(f"/api/jobs/{job_id}/events", types.Job)


def cancel_job(job_id: UUID, *, idempotency_key: str | None = None) -> Call[types.Job]:
    """Cancel a job."""
    return post(f"/api/jobs/{job_id}/cancel", None, types.Job, idempotency_key=idempotency_key)


def retry_job(job_id: UUID, *, idempotency_key: str | None = None) -> Call[types.Job]:
    """Have a job that failed or was cancelled tried again."""
    return post(f"/api/jobs/{job_id}/retry", None, types.Job, idempotency_key=idempotency_key)


def cancel_jobs(**choice: Unpack[types.JobChoice]) -> Call[types.JobsChanged]:
    """Cancel every job that was chosen; something must be given."""
    return post("/api/jobs/cancel", {**choice}, types.JobsChanged)


def list_dead_letters(
    *, limit: int = 50, cursor: str | None = None, **wanted: Unpack[types.JobFilter]
) -> Call[types.JobPage]:
    """List failed jobs that nobody has decided upon, newest first."""
    return get("/api/dead-letters", types.JobPage, limit=limit, cursor=cursor, **wanted)


def get_dead_letter(job_id: UUID) -> Call[types.JobDetail]:
    """Read a dead letter with its log."""
    return get(f"/api/dead-letters/{job_id}", types.JobDetail)


def replay_dead_letters(
    *, everything: bool = False, **choice: Unpack[types.JobChoice]
) -> Call[types.JobsChanged]:
    """Queue the dead letters that were chosen, or `everything`, anew."""
    return post("/api/dead-letters/replay", _chosen(choice, everything=everything), types.JobsChanged)


def discard_dead_letters(
    *, everything: bool = False, **choice: Unpack[types.JobChoice]
) -> Call[types.JobsChanged]:
    """Take the dead letters that were chosen, or `everything`, off the list."""
    return post("/api/dead-letters/discard", _chosen(choice, everything=everything), types.JobsChanged)


def _chosen(choice: types.JobChoice, *, everything: bool) -> dict[str, object]:
    return {**choice, "all": True if everything else None}
