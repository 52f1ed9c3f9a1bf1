"""Options that choose jobs by what they have in common."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, ParamSpec, Protocol, TypeVar, Unpack, cast
from uuid import UUID

import click

from quarry_client.types import JobChoice, JobFilter, JobsChanged

P = ParamSpec("P")
R = TypeVar("R")

TIMES: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


def filter_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the options, and what they say as the argument `wanted`."""

    @click.option("--document", "document_id", type=click.UUID, help="Only those of this document.")
    @click.option("--collection", help="Only those of this collection.")
    @click.option("--code", help="Only those that ended with this error.")
    @click.option("--created-after", type=TIMES, help="Only those made after this time, in UTC.")
    @click.option("--created-before", type=TIMES, help="Only those made before this time, in UTC.")
    @functools.wraps(command)
    def filtered(
        document_id: UUID | None,
        collection: str | None,
        code: str | None,
        created_after: datetime | None,
        created_before: datetime | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        wanted: JobFilter = {}
        if document_id is not None:
            wanted["document_id"] = document_id
        if collection is not None:
            wanted["collection"] = collection
        if code is not None:
            wanted["code"] = code
        if created_after is not None:
            wanted["created_after"] = created_after.replace(tzinfo=UTC)
        if created_before is not None:
            wanted["created_before"] = created_before.replace(tzinfo=UTC)
        return command(*args, **kwargs, wanted=wanted)  # type: ignore[arg-type]  # click passes it by name

    return filtered  # type: ignore[return-value]


class Changes(Protocol):
    """A call that changes the jobs of a choice, as many as one request may."""

    def __call__(self, **choice: Unpack[JobChoice]) -> JobsChanged:
        """Change them."""


def change_all(
    change: Changes, job_ids: tuple[UUID, ...], wanted: JobFilter, *, everything: bool = False
) -> int:
    """Change every job that was chosen, in as many requests as it takes; return how many there were.

    Raises click.UsageError when nothing was chosen, and when `everything` was and something besides.
    """
    if everything and (job_ids or wanted):
        raise click.UsageError("--all goes with nothing else.")
    if not everything and not job_ids and not wanted:
        raise click.UsageError("Name jobs by their ids, or by an option such as --collection.")
    choice = cast(JobChoice, {**wanted})
    if job_ids:
        choice["job_ids"] = list(job_ids)
    count = 0
    while True:
        changed = change(**choice)
        count += changed.jobs
        if not changed.more or not changed.jobs:
            return count
