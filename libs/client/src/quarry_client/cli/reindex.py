"""`quarry reindex`."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quarry_client.cli.connection import with_client
from quarry_client.cli.failure import Failure
from quarry_client.cli.output import notices
from quarry_client.cli.paging import take
from quarry_client.cli.tracking import progress_of
from quarry_client.cli.values import parse_filter
from quarry_client.client import Client
from quarry_client.retry import PATIENT
from quarry_client.types import Collection, Filter, Job, JobFilter, JobStateName

UNFINISHED: Final[tuple[JobStateName, ...]] = ("queued", "running")
MAX_COUNTED: Final = 1000
"""Jobs of each state that are read in one look; while so many or more are left, the bar stands still."""
PAUSE_SECONDS: Final = 1.0
MARGIN: Final = timedelta(seconds=10)
"""The job that is listed first may have been made before another, but not by so much."""


@click.command()
@click.option("--collection", help="Documents of this collection.")
@click.option("--filter", "filter_json", metavar="JSON", help='Those that fit, such as {"tags": ["law"]}.')
@click.option("--document-id", "document_ids", multiple=True, type=click.UUID, help="May be repeated.")
@click.option("--all", "everything", is_flag=True, help="Every document of every collection.")
@click.option("--wait", is_flag=True, help="Wait until all is indexed.")
@click.option(
    "--stall-timeout",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="With --wait: give up when no job has moved for so many seconds.",
)
@with_client(retry=PATIENT, timeout_seconds=60.0)
def reindex(
    client: Client,
    collection: str | None,
    filter_json: str | None,
    document_ids: tuple[UUID, ...],
    everything: bool,
    wait: bool,
    stall_timeout: float,
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
        follow(client, None if everything else collection, jobs, stall_timeout)
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


def follow(
    client: Client,
    collection: str | None,
    jobs: int,
    stall_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when none of the jobs that the collection, or the tenant, has by now waits or runs any more.

    Raises Failure when none of them has moved for `stall_seconds`.
    """
    wanted = _made_by_now(client, collection)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notices(), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("indexed", total=jobs)
        seen: dict[UUID, tuple[str, int]] = {}
        moved_at = clock()
        while left := _unfinished(client, wanted):
            if left != seen:
                seen, moved_at = left, clock()
            elif clock() - moved_at > stall_seconds:
                raise _stalled(len(left), stall_seconds)
            if len(left) < MAX_COUNTED:
                progress.update(task, completed=max(0, jobs - len(left)))
            sleep(PAUSE_SECONDS)
        progress.update(task, completed=jobs)


def _made_by_now(client: Client, collection: str | None) -> JobFilter:
    """Return what the jobs have in common that are there by now; the server's clock decides."""
    wanted: JobFilter = {} if collection is None else {"collection": collection}
    for newest in client.list_jobs(limit=1, **wanted).jobs:
        wanted["created_before"] = newest.created_at + MARGIN
    return wanted


def _unfinished(client: Client, wanted: JobFilter) -> dict[UUID, tuple[str, int]]:
    """Return the jobs that wait or run, each with how far it is."""
    return {
        job.id: progress_of(job)
        for state in UNFINISHED
        for job in take(MAX_COUNTED, _pages(client, state, wanted))
    }


def _pages(
    client: Client, state: JobStateName, wanted: JobFilter
) -> Callable[[int, str | None], tuple[list[Job], str | None]]:
    def fetch(size: int, cursor: str | None) -> tuple[list[Job], str | None]:
        page = client.list_jobs(state=state, limit=size, cursor=cursor, **wanted)
        return page.jobs, page.next_cursor

    return fetch


def _stalled(left: int, stall_seconds: float) -> Failure:
    many = f"{left} jobs have" if left < MAX_COUNTED else f"At least {MAX_COUNTED} jobs have"
    return Failure(
        f"{many} not ended, and none has moved for {stall_seconds:g} s.",
        "Look at `quarry status` and `quarry jobs list`; the work goes on when the platform does. "
        "`quarry jobs cancel` gives up what should not be waited for.",
    )
