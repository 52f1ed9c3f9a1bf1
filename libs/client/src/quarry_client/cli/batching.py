"""Sends files: small ones of text together, the others one by one."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from quarry_client.answers import api_error
from quarry_client.calls import media_type_of
from quarry_client.cli.files import SourceFile
from quarry_client.cli.ingestion import HOPELESS, Outcome, Report, Sent, refused, send_item
from quarry_client.client import Client
from quarry_client.errors import ApiError, ClientError
from quarry_client.retry import KEY_IN_FLIGHT
from quarry_client.types import Accepted, BatchItem, DocumentFields, NewDocument, PriorityName

SMALL_BYTES: Final = 64 << 10
"""A file below this may be sent with others; a greater one gains nothing by it."""
MAX_TOGETHER: Final = 100
MAX_TOGETHER_BYTES: Final = 2 << 20
"""As JSON it may be six times as much, which a server takes as it is usually set up."""


def grouped(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    """Yield the files in the groups that are sent together; all of a group were found in the same way."""
    open_groups: dict[bool, list[SourceFile]] = {True: [], False: []}
    sizes = {True: 0, False: 0}
    for file in files:
        size_bytes = _size_bytes(file.path)
        if size_bytes is None or size_bytes >= SMALL_BYTES:
            yield [file]
            continue
        group = open_groups[file.in_folder]
        if group and (len(group) == MAX_TOGETHER or sizes[file.in_folder] + size_bytes > MAX_TOGETHER_BYTES):
            yield group
            group = open_groups[file.in_folder] = []
            sizes[file.in_folder] = 0
        group.append(file)
        sizes[file.in_folder] += size_bytes
    yield from (group for group in open_groups.values() if group)


class FileSender:
    """Sends files into one collection, with the same fields for all."""

    def __init__(self, client: Client, collection: str, fields: DocumentFields) -> None:
        self._client = client
        self._collection = collection
        self._fields = fields

    def send(self, files: list[SourceFile]) -> Sent[SourceFile]:
        """Send files together as far as they are text; tell of each.

        What became of none, because the platform was not there or the request too large, is sent alone.
        """
        texts = {} if len(files) == 1 else {file: text for file in files if (text := _text(file.path))}
        reports: list[Report[SourceFile]] = []
        try:
            reports += self._send_texts(texts) if texts else ()
            told = {report.item for report in reports}
            for file in files:
                if file not in told:
                    reports.append(send_item(file, self._send_file))
        except ClientError as error:
            return Sent(reports, error)
        return Sent(reports)

    def _send_file(self, file: SourceFile) -> Accepted:
        return self._client.put_file(
            file.external_id,
            file.path,
            collection=self._collection,
            file_name=_name(file),
            priority=_priority(file),
            **self._fields,
        )

    def _send_texts(self, texts: dict[SourceFile, str]) -> list[Report[SourceFile]]:
        documents = [self._document(file, text) for file, text in texts.items()]
        priority = _priority(next(iter(texts)))
        try:
            answer = self._client.put_documents(documents, priority=priority)
        except ApiError as error:
            if error.status in HOPELESS:
                raise
            return []
        told = map(_report, texts, answer.results)
        return [report for report in told if report is not None]

    def _document(self, file: SourceFile, text: str) -> NewDocument:
        name = _name(file)
        # The same name and type as a file that is sent alone has: the document is the same, either way.
        return {
            **self._fields,
            "content": text,
            "external_id": file.external_id,
            "collection": self._collection,
            "file_name": name,
            "media_type": media_type_of(name),
        }


def _report(file: SourceFile, result: BatchItem) -> Report[SourceFile] | None:
    """Tell of a file that was sent with others; None when it has to be sent alone to know."""
    if result.error is not None:
        error = api_error(result.error)
        passes = error.status in HOPELESS or error.status >= 500 or error.code == KEY_IN_FLIGHT
        return None if passes else refused(file, error)
    if result.document_id is None or result.job_id is None:
        return None
    unchanged = result.status == "unchanged"
    accepted = Accepted(
        result.document_id, result.job_id, result.version or 1, unchanged, result.revision or 0
    )
    return Report(file, Outcome.ACCEPTED, accepted)


def _text(path: Path) -> str | None:
    """Return a file's text when it can travel as such: small, UTF-8, without NUL and not blank."""
    try:
        body = path.read_bytes()
        text = body.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(body) < SMALL_BYTES and text.strip() and "\0" not in text else None


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _name(file: SourceFile) -> str:
    return file.external_id.rpartition("/")[2]


def _priority(file: SourceFile) -> PriorityName:
    return "bulk" if file.in_folder else "interactive"
