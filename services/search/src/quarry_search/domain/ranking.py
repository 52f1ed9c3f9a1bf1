"""Which of the candidates make the answer, and why they stand where they do."""

from collections.abc import Sequence
from uuid import UUID

from quarry_common.contracts.search import Place, Result, ResultExplanation
from quarry_common.vectors.points import Passage
from quarry_common.vectors.queries import Candidate

Hit = tuple[Candidate, Passage]
"""A candidate and what is in it."""


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


class Places:
    """Where candidates stood in each list."""

    def __init__(
        self, dense: Sequence[Candidate], sparse: Sequence[Candidate], fused: Sequence[Candidate]
    ) -> None:
        self._lists = {"dense": _places(dense), "sparse": _places(sparse), "fused": _places(fused)}

    def explain(self, chunk_id: str, rerank: Place | None) -> ResultExplanation:
        """Return why a result stands where it does."""
        named = {name: places.get(chunk_id) for name, places in self._lists.items()}
        return ResultExplanation(**named, rerank=rerank)


def _places(candidates: Sequence[Candidate]) -> dict[str, Place]:
    return {found.chunk_id: Place(rank, found.score) for rank, found in enumerate(candidates, start=1)}


def result(
    found: Candidate, passage: Passage, highlights: list[str], explanation: ResultExplanation | None
) -> Result:
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
        explanation=explanation,
    )
