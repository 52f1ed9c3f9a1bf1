"""Reads a judged collection in BEIR layout: `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from quarry_client.errors import ClientError

S = TypeVar("S", bound=msgspec.Struct)

LAYOUT_ADVICE = (
    "A judged collection is a folder with corpus.jsonl {_id, title, text}, queries.jsonl {_id, text} "
    "and qrels.tsv or qrels/test.tsv (query-id, corpus-id, score)."
)
Judgements = dict[str, dict[str, int]]
"""Grades by query id and document id."""


class CorpusDocument(msgspec.Struct, frozen=True, rename={"id": "_id"}):
    """A document of the collection."""

    id: str
    title: str = ""
    text: str = ""


class JudgedQuery(msgspec.Struct, frozen=True, rename={"id": "_id"}):
    """A query of the collection."""

    id: str
    text: str


class JudgedCollection(msgspec.Struct, frozen=True):
    """A collection with its queries and what people judged."""

    folder: Path
    document_count: int
    queries: list[JudgedQuery]
    """Those for which at least one document was judged relevant."""
    judgements: Judgements

    def documents(self) -> Iterator[CorpusDocument]:
        """Read the documents one by one; those without title and text are left out."""
        return _documents(self.folder)


def read_collection(folder: Path) -> JudgedCollection:
    """Read queries and judgements and count the documents; raises ClientError for a broken file."""
    judgements = _read_judgements(folder)
    queries = [
        query
        for query in _read_lines(folder / "queries.jsonl", JudgedQuery)
        if query.text.strip() and any(grade > 0 for grade in judgements.get(query.id, {}).values())
    ]
    if not queries:
        raise ClientError(f"No query of {folder} has a document judged relevant.", LAYOUT_ADVICE)
    return JudgedCollection(folder, sum(1 for _ in _documents(folder)), queries, judgements)


def _documents(folder: Path) -> Iterator[CorpusDocument]:
    for document in _read_lines(folder / "corpus.jsonl", CorpusDocument):
        if document.title.strip() or document.text.strip():
            yield document


def _read_lines(path: Path, kind: type[S]) -> Iterator[S]:
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _decode(decoder, line, f"{path}, line {number}")
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.", LAYOUT_ADVICE) from error


def _decode(decoder: msgspec.json.Decoder[S], line: bytes, where: str) -> S:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClientError(f"{where}: {error}.", LAYOUT_ADVICE) from error


def _read_judgements(folder: Path) -> Judgements:
    path = folder / "qrels.tsv"
    if not path.exists():
        path = folder / "qrels" / "test.tsv"
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"{path} cannot be read: {error}.", LAYOUT_ADVICE) from error
    judgements: Judgements = {}
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        if not line.strip() or (number == 1 and not _is_whole(cells[-1])):
            continue
        if len(cells) != 3 or not _is_whole(cells[2]):
            raise ClientError(
                f"{path}, line {number}: not query-id, corpus-id and a whole score.", LAYOUT_ADVICE
            )
        judgements.setdefault(cells[0].strip(), {})[cells[1].strip()] = int(cells[2])
    return judgements


def _is_whole(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()
