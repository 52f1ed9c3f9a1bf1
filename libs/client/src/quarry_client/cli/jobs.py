"""`quarry jobs`."""

import sys
from uuid import UUID

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quarry_client.cli.choices import change_all, filter_options
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.job_output import show_job, show_jobs
from quarry_client.cli.output import notices, plain, print_json
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.retry import PATIENT
from quarry_client.types import JOB_STATES, Job, JobFilter, JobStateName


@click.group()
def jobs() -> None:
    """See and steer the work of making documents searchable."""


@jobs.command("list")
@click.option("--state", type=click.Choice(JOB_STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@filter_options
@with_client()
def list_jobs(
    client: Client, state: JobStateName | None, limit: int, as_json: bool, wanted: JobFilter
) -> None:
    """List jobs, newest first."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Job], str | None]:
        page = client.list_jobs(state=state, limit=size, cursor=cursor, **wanted)
        return page.jobs, page.next_cursor

    show_jobs(list(take(limit, fetch)), as_json=as_json, empty="There are no jobs.")


@jobs.command("show")
@click.argument("job_id", type=click.UUID)
@json_option
@with_client()
def show(client: Client, job_id: UUID, as_json: bool) -> None:
    """Show a job, its log, and why it failed."""
    show_job(client.get_job(job_id), as_json=as_json)


@jobs.command("cancel")
@click.argument("job_ids", nargs=-1, type=click.UUID)
@filter_options
@with_client()
def cancel(client: Client, job_ids: tuple[UUID, ...], wanted: JobFilter) -> None:
    """Cancel jobs, by their ids or all that have something in common. Nothing half-done can be found."""
    if job_ids and not wanted:
        for job_id in job_ids:
            click.echo(f"Job {job_id} is {client.cancel_job(job_id).state}.")
        return
    count = change_all(client.cancel_jobs, job_ids, wanted)
    click.echo(f"Cancelled {count} jobs.")


@jobs.command("retry")
@click.argument("job_ids", nargs=-1, required=True, type=click.UUID)
@with_client()
def retry(client: Client, job_ids: tuple[UUID, ...]) -> None:
    """Try jobs again that failed or were cancelled."""
    for job_id in job_ids:
        click.echo(f"Job {job_id} is {client.retry_job(job_id).state}.")


@jobs.command("watch")
@click.argument("job_id", type=click.UUID)
@json_option
@with_client(retry=PATIENT)
def watch(client: Client, job_id: UUID, as_json: bool) -> None:
    """Follow a job until it is over; exits with 1 unless it succeeded."""
    last: Job | None = None
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notices(), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("waiting", total=None)
        for last in client.watch_job(job_id):
            doing = plain(last.stage or last.state)
            bar.update(task, description=doing, completed=last.chunks_done, total=last.chunks_total)
            if as_json:
                print_json(last, compact=True)
    if last is None:
        last = client.get_job(job_id)  # the stream told of nothing but its end
    if not as_json:
        click.echo(f"{plain(last.title) or job_id}: {last.state}, {last.chunks_done} chunks")
        if last.error is not None and last.state == "failed":
            click.echo(plain(f"{last.error.detail} ({last.error.code}) {last.error.advice}"))
    if last.state != "succeeded":
        sys.exit(1)
