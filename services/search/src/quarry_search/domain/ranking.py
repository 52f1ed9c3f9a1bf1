"""What is searched for, and which of the candidates make the answer."""

import unicodedata
from collections.abc import Sequence
from uuid import UUID

from quarry_common.contracts.search import Result
from quarry_common.errors import FieldError, ValidationError
from quarry_common.vectors.points import Passage
from quarry_common.vectors.queries import Candidate

Hit = tuple[Candidate, Passage]
"""A candidate and what is in it."""


def check_text(text: str) -> None:
    """Raise `ValidationError` when `text` has nothing that could be searched for."""
    # The categories C and Z of Unicode: control and format characters, unassigned code points, spaces.
    if all(unicodedata.category(char)[0] in "CZ" for char in text):
        raise ValidationError(
            "The query is empty.",
            errors=[FieldError("query", "must hold more than spaces and control characters")],
        )


def best_of_documents(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the best passage of each document's highest version, in the order of `candidates`."""
    newest: dict[str, int] = {}
    for found in candidates:
        newest[found.document_id] = max(found.version, newest.get(found.document_id, 0))
    best: dict[str, Candidate] = {}
    for found in candidates:
        if found.version == newest[found.document_id]:
            best.setdefault(found.document_id, found)
    return list(best.values())


def of_newest_versions(hits: Sequence[Hit]) -> list[Hit]:
    """Return those of `hits` that belong to the highest version of their document among them.

    While one version replaces another both are active for a moment.
    """
    newest: dict[UUID, int] = {}
    for _, passage in hits:
        newest[passage.document_id] = max(passage.version, newest.get(passage.document_id, 0))
    return [hit for hit in hits if hit[1].version == newest[hit[1].document_id]]


def result(found: Candidate, passage: Passage, highlights: list[str]) -> Result:
    """Return `passage` as the answer shows it."""
    return Result(
        document_id=passage.document_id,
        external_id=passage.external_id,
        chunk_id=UUID(found.chunk_id),
        version=passage.version,
        title=passage.title,
        heading_path=passage.heading_path,
        page=passage.page,
        char_start=passage.char_start,
        char_end=passage.char_end,
        text=passage.text,
        highlights=highlights,
        score=found.score,
        doc_type=passage.doc_type or "",
        tags=passage.tags,
        metadata=passage.metadata,
        collection=passage.collection,
        source_url=passage.source_url,
        created_at=passage.created_at,
    )
