"""`quarry jobs`."""

from uuid import UUID

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_fields, print_json, print_table
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import JOB_STATES, Job, JobStateName


@click.group()
def jobs() -> None:
    """See the work of making documents searchable."""


@jobs.command("list")
@click.option("--state", type=click.Choice(JOB_STATES), help="Only those in this state.")
@click.option("--document", "document_id", type=click.UUID, help="Only those of this document.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@with_client()
def list_jobs(
    client: Client, state: JobStateName | None, document_id: UUID | None, limit: int, as_json: bool
) -> None:
    """List jobs, newest first."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Job], str | None]:
        page = client.list_jobs(state=state, document_id=document_id, limit=size, cursor=cursor)
        return page.jobs, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"jobs": found})
        return
    rows = (
        (j.id, j.title, j.state, j.stage, _progress(j), j.attempt, j.created_at, j.error and j.error.code)
        for j in found
    )
    columns = ("id", "title", "state", "stage", "chunks", "attempt", "created", "error")
    print_table(columns, rows, empty="There are no jobs.")


@jobs.command("get")
@click.argument("job_id", type=click.UUID)
@json_option
@with_client()
def get_job(client: Client, job_id: UUID, as_json: bool) -> None:
    """Show a job, and why it failed."""
    job = client.get_job(job_id)
    if as_json:
        print_json(job)
        return
    print_fields(
        [
            ("id", job.id),
            ("document", job.document_id),
            ("title", job.title),
            ("collection", job.collection),
            ("version", job.version),
            ("state", job.state),
            ("stage", job.stage),
            ("chunks", _progress(job)),
            ("attempt", job.attempt),
            ("created", job.created_at),
            ("started", job.started_at),
            ("finished", job.finished_at),
            *([("error", f"{job.error.detail} ({job.error.code})")] if job.error else []),
            *([("what to do", job.error.advice)] if job.error and job.error.advice else []),
        ]
    )


def _progress(job: Job) -> str:
    total = "?" if job.chunks_total is None else job.chunks_total
    return f"{job.chunks_done}/{total}"
