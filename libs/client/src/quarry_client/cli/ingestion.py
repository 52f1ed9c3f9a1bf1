"""Sends many documents and follows each until it can be found or it is clear why not."""

import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final, Generic, TypeVar

import msgspec

from quarry_client import calls
from quarry_client.cli.parallel import run_parallel
from quarry_client.cli.tracking import JobTracker
from quarry_client.client import Client
from quarry_client.errors import ApiError, ClientError
from quarry_client.retry import PROMPT
from quarry_client.types import Accepted, Job

I = TypeVar("I")  # noqa: E741 - item

_REFUSALS: Final = frozenset({400, 413, 415, 422})
"""Answers that speak of the one document."""
HOPELESS: Final = frozenset({401, 403, 429, 502, 503, 504})
"""Answers that every further document would get too: the key, a quota, or a platform that stays away."""
_PAUSE_SECONDS: Final = 0.1
_PAUSE_WHILE_SENDING_SECONDS: Final = 1.0
"""Between two rounds of asking; sending stands still meanwhile, so many jobs are read together."""


class Outcome(StrEnum):
    """How it stands with a document. All but `accepted` are final when the run waits."""

    ACCEPTED = "accepted"
    SEARCHABLE = "searchable"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    """The platform cannot take this document: its format, its size, its content."""
    FAILED = "failed"
    """Something else went wrong; the same document may succeed next time."""


class Report(msgspec.Struct, Generic[I], frozen=True):
    """What became of an item."""

    item: I
    outcome: Outcome
    accepted: Accepted | None = None
    code: str = ""
    detail: str = ""
    advice: str = ""


class Sent(msgspec.Struct, Generic[I], frozen=True):
    """What became of items that were sent together, as far as it came."""

    reports: list[Report[I]]
    stopped: ClientError | None = None
    """Why no further item can succeed."""


def ingest_items(
    client: Client,
    items: Iterable[I],
    send: Callable[[I], Accepted],
    *,
    jobs: int,
    wait: bool = True,
    stall_seconds: float = 600.0,
) -> Iterator[Report[I]]:
    """Send each item with at most `jobs` at once; yield its acceptance and, with `wait`, its end.

    Raises ClientError as soon as no further item can succeed. Jobs that stop moving for `stall_seconds` are
    reported as failed.
    """
    yield from ingest_groups(
        client,
        ([item] for item in items),
        lambda group: Sent([send_item(item, send) for item in group]),
        jobs=jobs,
        wait=wait,
        stall_seconds=stall_seconds,
    )


def ingest_groups(
    client: Client,
    groups: Iterable[list[I]],
    send: Callable[[list[I]], Sent[I]],
    *,
    jobs: int,
    wait: bool = True,
    stall_seconds: float = 600.0,
) -> Iterator[Report[I]]:
    """The same with items that are sent together; `send` tells of each."""
    tracker: JobTracker[Report[I]] = JobTracker(client)
    for sent in run_parallel(groups, send, jobs):
        for report in sent.reports:
            yield report
            if wait and report.accepted:
                tracker.add(report.accepted.job_id, report)
        if sent.stopped is not None:
            raise sent.stopped
        if wait:
            yield from _poll(tracker, _PAUSE_WHILE_SENDING_SECONDS)
    while len(tracker):
        if tracker.idle_seconds > stall_seconds:
            yield from (_stalled(report, stall_seconds) for report in tracker.remaining())
            return
        time.sleep(tracker.pause_seconds)
        yield from _poll(tracker, _PAUSE_SECONDS)


def send_item(item: I, send: Callable[[I], Accepted]) -> Report[I]:
    """Send an item; tell of its acceptance, or why it was not. Raises ApiError when no item can succeed."""
    try:
        accepted = send(item)
    except ApiError as error:
        if error.status in HOPELESS:
            raise
        return refused(item, error)
    except OSError as error:
        detail = error.strerror or str(error)
        return Report(
            item, Outcome.FAILED, code="unreadable_file", detail=detail, advice="Look at its rights."
        )
    return Report(item, Outcome.ACCEPTED, accepted)


def refused(item: I, error: ApiError) -> Report[I]:
    """Tell of an item that was not accepted for what is wrong with it."""
    outcome = Outcome.REFUSED if error.status in _REFUSALS else Outcome.FAILED
    fields = "; ".join(f"{wrong.field}: {wrong.message}" for wrong in error.errors)
    detail = f"{error.detail} {fields}".strip()
    return Report(item, outcome, code=error.code, detail=detail, advice=error.advice)


def _poll(tracker: JobTracker[Report[I]], pause_seconds: float) -> Iterator[Report[I]]:
    for report, job in tracker.poll(pause_seconds):
        yield _ended(report, job)


def _ended(report: Report[I], job: Job | None) -> Report[I]:
    accepted = report.accepted
    if job is None or job.state == "succeeded":
        # A job that is not kept any more has ended long ago, and its document was not refused just now.
        unchanged = accepted is not None and accepted.unchanged
        return Report(report.item, Outcome.UNCHANGED if unchanged else Outcome.SEARCHABLE, accepted)
    if job.state == "cancelled":
        return Report(
            report.item,
            Outcome.FAILED,
            accepted,
            "cancelled",
            "Its job was cancelled: the document was deleted or replaced meanwhile.",
            "Ingest it again if it is still wanted.",
        )
    error = job.error
    if error is None:
        return Report(
            report.item, Outcome.FAILED, accepted, "unknown", f"Job {job.id} failed and tells no reason."
        )
    outcome = Outcome.REFUSED if error.status < 500 else Outcome.FAILED
    return Report(report.item, outcome, accepted, error.code, error.detail or error.title, error.advice)


def _stalled(report: Report[I], stall_seconds: float) -> Report[I]:
    return Report(
        report.item,
        Outcome.FAILED,
        report.accepted,
        "not_finished",
        f"Its job has not ended, and none has moved for {stall_seconds:g} s.",
        "Look at `quarry status` and `quarry jobs list`; the work goes on when the platform does.",
    )


def ensure_collection(client: Client, name: str) -> None:
    """Create the collection when there is none of that name; also proves address and key, as below."""
    try:
        client.send(calls.get_collection(name), retry=PROMPT)
    except ApiError as error:
        if error.status != 404:
            raise
        try:
            client.create_collection(name)
        except ApiError as conflict:
            if conflict.status != 409:
                raise


def require_collection(client: Client, name: str) -> None:
    """Raise ClientError when there is no such collection.

    It also proves address and key before a long run, without that run's patience.
    """
    try:
        client.send(calls.get_collection(name), retry=PROMPT)
    except ApiError as error:
        if error.status == 403:  # The key may write documents and not read collections.
            return
        if error.status != 404 or error.code != "not_found":
            raise
        raise ClientError(
            f"There is no collection {name!r}.", f"Create it with `quarry collections create {name}`."
        ) from error
