"""How commands show jobs."""

from collections.abc import Sequence

from quarry_client.cli.output import print_fields, print_json, print_table
from quarry_client.types import Job, JobDetail


def show_jobs(jobs: Sequence[Job], *, as_json: bool, empty: str) -> None:
    """Print jobs as a table."""
    if as_json:
        print_json({"jobs": jobs})
        return
    rows = (
        (j.id, j.title, j.state, j.stage, progress(j), j.attempt, j.created_at, j.error and j.error.code)
        for j in jobs
    )
    columns = ("id", "title", "state", "stage", "chunks", "attempt", "created", "error")
    print_table(columns, rows, empty=empty)


def show_job(job: JobDetail, *, as_json: bool) -> None:
    """Print all that is known of a job."""
    if as_json:
        print_json(job)
        return
    waiting = job.queue_position is not None
    left = job.estimated_seconds
    print_fields(
        [
            ("id", job.id),
            ("document", job.document_id),
            ("title", job.title),
            ("collection", job.collection),
            ("version", job.version),
            ("state", job.state),
            ("stage", job.stage),
            ("priority", job.priority),
            ("chunks", progress(job)),
            ("attempt", job.attempt),
            *([("before it", f"{job.queue_position} jobs")] if waiting else []),
            *([("done in about", f"{left:.0f} s")] if left is not None else []),
            ("created", job.created_at),
            ("started", job.started_at),
            ("finished", job.finished_at),
            *([("tried again", job.next_attempt_at)] if job.next_attempt_at else []),
            *([("error", f"{job.error.detail} ({job.error.code})")] if job.error else []),
            *([("what to do", job.error.advice)] if job.error and job.error.advice else []),
            *((f"{line.at:%Y-%m-%d %H:%M:%S}", line.message) for line in job.log),
        ]
    )


def progress(job: Job) -> str:
    """Return how many of a job's chunks are done."""
    total = "?" if job.chunks_total is None else job.chunks_total
    return f"{job.chunks_done}/{total}"
