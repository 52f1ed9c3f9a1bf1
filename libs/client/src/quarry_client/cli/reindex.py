"""`quarry reindex`."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quarry_client.cli.connection import with_client
from quarry_client.cli.output import notices
from quarry_client.cli.paging import take
from quarry_client.cli.values import parse_filter
from quarry_client.client import Client
from quarry_client.retry import PATIENT
from quarry_client.types import Collection, Filter, Job, JobFilter, JobStateName

UNFINISHED: Final[tuple[JobStateName, ...]] = ("queued", "running")
MAX_COUNTED: Final = 1000
"""Jobs that are counted in one look; of more it is told that there are so many."""
PAUSE_SECONDS: Final = 1.0


@click.command()
@click.option("--collection", help="Documents of this collection.")
@click.option("--filter", "filter_json", metavar="JSON", help='Those that fit, such as {"tags": ["law"]}.')
@click.option("--document-id", "document_ids", multiple=True, type=click.UUID, help="May be repeated.")
@click.option("--all", "everything", is_flag=True, help="Every document of every collection.")
@click.option("--wait", is_flag=True, help="Wait until all is indexed.")
@with_client(retry=PATIENT, timeout_seconds=60.0)
def reindex(
    client: Client,
    collection: str | None,
    filter_json: str | None,
    document_ids: tuple[UUID, ...],
    everything: bool,
    wait: bool,
) -> None:
    """Have documents parsed, cut and indexed again; meanwhile they are found as before.

    Documents to which all options apply. What waits to be indexed anyway is left alone, so that the command
    may be repeated.
    """
    filters = parse_filter(filter_json)
    if everything and (collection or filters or document_ids):
        raise click.UsageError("--all goes with no other choice.")
    if not everything and not (collection or filters or document_ids):
        raise click.UsageError("Choose documents: --collection, --filter, --document-id or --all.")
    places: list[str | None] = [*_collections(client)] if everything else [collection]
    jobs = 0
    for place in places:
        for made in _requests(client, document_ids, place, filters):
            jobs += made
            notices().print(f"{jobs} jobs" + (f", {place}" if place else ""), markup=False)
    click.echo(f"{jobs} documents will be indexed again.")
    if wait and jobs:
        _follow(client, None if everything else collection, jobs)
        click.echo("All is indexed; `quarry dead-letters list` tells what could not be.")


def _collections(client: Client) -> Iterator[str]:
    def fetch(size: int, cursor: str | None) -> tuple[list[Collection], str | None]:
        page = client.list_collections(limit=size, cursor=cursor)
        return page.collections, page.next_cursor

    for collection in take(sys.maxsize, fetch):
        yield collection.name


def _requests(
    client: Client, document_ids: Sequence[UUID], collection: str | None, filters: Filter | None
) -> Iterator[int]:
    """Ask page by page; yield how many jobs each request made."""
    cursor: str | None = None
    while True:
        answer = client.reindex(
            document_ids=document_ids or None, collection=collection, filters=filters, cursor=cursor
        )
        yield answer.jobs
        cursor = answer.next_cursor
        if cursor is None:
            return


def _follow(client: Client, collection: str | None, jobs: int) -> None:
    """Return when no job of the collection, or of the tenant, waits or runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notices(), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("indexed", total=jobs)
        while left := sum(_count(client, state, collection) for state in UNFINISHED):
            progress.update(task, completed=max(0, jobs - left))
            time.sleep(PAUSE_SECONDS)
        progress.update(task, completed=jobs)


def _count(client: Client, state: JobStateName, collection: str | None) -> int:
    wanted: JobFilter = {} if collection is None else {"collection": collection}

    def fetch(size: int, cursor: str | None) -> tuple[list[Job], str | None]:
        page = client.list_jobs(state=state, limit=size, cursor=cursor, **wanted)
        return page.jobs, page.next_cursor

    return sum(1 for _ in take(MAX_COUNTED, fetch))
