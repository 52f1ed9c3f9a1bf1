"""`quarry dead-letters`."""

from typing import Unpack
from uuid import UUID

import click

from quarry_client.cli.choices import change_all, filter_options
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.job_output import show_job, show_jobs
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import Job, JobChoice, JobFilter, JobsChanged

all_option = click.option("--all", "everything", is_flag=True, help="Every dead letter.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at documents that could not be indexed, and decide upon them."""


@dead_letters.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@filter_options
@with_client()
def list_dead_letters(client: Client, limit: int, as_json: bool, wanted: JobFilter) -> None:
    """List failed jobs that nobody has decided upon, newest first."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Job], str | None]:
        page = client.list_dead_letters(limit=size, cursor=cursor, **wanted)
        return page.jobs, page.next_cursor

    show_jobs(list(take(limit, fetch)), as_json=as_json, empty="There are no dead letters.")


@dead_letters.command("show")
@click.argument("job_id", type=click.UUID)
@json_option
@with_client()
def show(client: Client, job_id: UUID, as_json: bool) -> None:
    """Show why a document could not be indexed, and what happened before."""
    show_job(client.get_dead_letter(job_id), as_json=as_json)


@dead_letters.command("replay")
@click.argument("job_ids", nargs=-1, type=click.UUID)
@all_option
@filter_options
@with_client()
def replay(client: Client, job_ids: tuple[UUID, ...], everything: bool, wanted: JobFilter) -> None:
    """Try to index documents again, by the ids of their jobs or all that have something in common."""

    def change(**choice: Unpack[JobChoice]) -> JobsChanged:
        return client.replay_dead_letters(everything=everything, **choice)

    click.echo(f"Queued {change_all(change, job_ids, wanted, everything=everything)} jobs.")


@dead_letters.command("discard")
@click.argument("job_ids", nargs=-1, type=click.UUID)
@all_option
@filter_options
@with_client()
def discard(client: Client, job_ids: tuple[UUID, ...], everything: bool, wanted: JobFilter) -> None:
    """Take documents off the list. They stay as they are."""

    def change(**choice: Unpack[JobChoice]) -> JobsChanged:
        return client.discard_dead_letters(everything=everything, **choice)

    click.echo(f"Discarded {change_all(change, job_ids, wanted, everything=everything)} dead letters.")
