"""`quarry ingest`."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from quarry_client.cli.batching import FileSender, grouped
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.failure import Failure
from quarry_client.cli.files import SourceFile, find_files
from quarry_client.cli.ingestion import Outcome, Report, ingest_groups, require_collection
from quarry_client.cli.output import notices, print_json, print_table
from quarry_client.cli.values import parse_metadata
from quarry_client.client import Client
from quarry_client.errors import ClientError
from quarry_client.retry import PATIENT
from quarry_client.types import DocumentFields

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--collection", default="default", show_default=True, help="Where the documents go.")
@click.option("--tag", "tags", multiple=True, help="Tag for every document; may be repeated.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="For every document; may be repeated.")
@click.option("--prefix", default="", help="Put before every external id, to keep folders apart.")
@click.option("--include", multiple=True, metavar="GLOB", help="Take only files that match.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out files and folders that match.")
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 64), help="Uploads at once.")
@click.option("--wait/--no-wait", default=True, help="Wait until every document can be found (default).")
@click.option(
    "--stall-timeout",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds without any progress after which waiting ends.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 also when files were refused.")
@json_option
@with_client(retry=PATIENT, timeout_seconds=120.0)
def ingest(
    client: Client,
    paths: tuple[Path, ...],
    collection: str,
    tags: tuple[str, ...],
    metadata: tuple[str, ...],
    prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    jobs: int,
    wait: bool,
    stall_timeout: float,
    strict: bool,
    as_json: bool,
) -> None:
    """Send files and folders, and wait until they can be found.

    Each file goes by its path below the folder that was named; to repeat the command is safe: what has not
    changed is not sent through the platform again. A file that the platform cannot take is listed with what
    to do about it and does not fail the command, unless --strict is given.
    """
    files = find_files(paths, include, exclude, prefix)
    if not files:
        raise Failure(
            "There are no files to ingest.", "Hidden files are left out; see --include and --exclude."
        )
    fields: DocumentFields = {}
    if tags:
        fields["tags"] = list(tags)
    if metadata:
        fields["metadata"] = {**parse_metadata(metadata)}
    require_collection(client, collection)

    sender = FileSender(client, collection, fields)
    started = time.monotonic()
    tally = Tally(len(files), wait=wait)
    stopped = tally.follow(
        ingest_groups(client, grouped(files), sender.send, jobs=jobs, wait=wait, stall_seconds=stall_timeout),
        client,
    )
    tally.tell(time.monotonic() - started, as_json=as_json)
    if isinstance(stopped, KeyboardInterrupt):
        notices().print("Stopped. Nothing is half done: run the same command again to go on.")
        sys.exit(INTERRUPTED)
    if stopped is not None:
        raise stopped
    if tally.counts[Outcome.FAILED] or (strict and tally.counts[Outcome.REFUSED]):
        sys.exit(1)


class Tally:
    """Counts what became of the files and shows it while it happens."""

    def __init__(self, total: int, *, wait: bool) -> None:
        self._total = total
        self._wait = wait
        self._reports: dict[str, Report[SourceFile]] = {}
        self._uploaded = 0

    @property
    def counts(self) -> Counter[Outcome]:
        """How many files there are of each outcome."""
        return Counter(report.outcome for report in self._reports.values())

    def follow(
        self, reports: Iterable[Report[SourceFile]], client: Client
    ) -> ClientError | KeyboardInterrupt | None:
        """Take in all reports; return what ended them early."""
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, TextColumn("{task.fields[note]}"), console=notices(), disable=not sys.stderr.isatty()
        ) as progress:
            uploaded = progress.add_task("uploaded", total=self._total, note="")
            done = progress.add_task("searchable", total=self._total, note="", visible=self._wait)
            try:
                for report in reports:
                    self._take(report)
                    self._show(progress, uploaded, done)
            except (ClientError, KeyboardInterrupt) as error:
                client.stop_retrying()
                return error
        return None

    def _take(self, report: Report[SourceFile]) -> None:
        if report.item.external_id not in self._reports:
            self._uploaded += 1
        if not self._wait and report.accepted and report.accepted.unchanged:
            report = Report(report.item, Outcome.UNCHANGED, report.accepted)
        self._reports[report.item.external_id] = report

    def _show(self, progress: Progress, uploaded: TaskID, done: TaskID) -> None:
        counts = self.counts
        bad = f"{counts[Outcome.REFUSED]} refused, {counts[Outcome.FAILED]} failed"
        progress.update(uploaded, completed=self._uploaded)
        findable = counts[Outcome.SEARCHABLE] + counts[Outcome.UNCHANGED]
        progress.update(done, completed=findable, note=bad)

    def tell(self, seconds: float, *, as_json: bool) -> None:
        """Print the files that did not get in, and the counts."""
        counts = {outcome.value: self.counts[outcome] for outcome in Outcome}
        reports = sorted(self._reports.values(), key=lambda report: report.item.external_id)
        if as_json:
            print_json(
                {"files": self._total, "seconds": round(seconds, 3), **counts, "items": _as_items(reports)}
            )
            return
        bad = [report for report in reports if report.outcome in {Outcome.REFUSED, Outcome.FAILED}]
        if bad:
            rows = ((str(r.item.path), r.outcome, r.code, f"{r.detail} {r.advice}".strip()) for r in bad)
            print_table(("file", "outcome", "code", "what happened and what to do"), rows, empty="")
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        open_count = self._total - len(self._reports)
        rest = f", {open_count} not sent" if open_count else ""
        click.echo(f"{self._total} files: {told or 'none accepted'}{rest} ({seconds:.1f} s)")


def _as_items(reports: Sequence[Report[SourceFile]]) -> list[dict[str, object]]:
    return [
        {
            "path": str(report.item.path).encode("utf-8", "backslashreplace").decode(),
            "external_id": report.item.external_id,
            "outcome": report.outcome,
            "document_id": report.accepted and report.accepted.document_id,
            "job_id": report.accepted and report.accepted.job_id,
            "code": report.code,
            "detail": report.detail,
            "advice": report.advice,
        }
        for report in reports
    ]
