from datetime import UTC, datetime
from uuid import UUID, uuid4

from quarry_common.vectors.points import Passage
from quarry_common.vectors.queries import Candidate
from quarry_search.domain.ranking import best_of_documents, of_newest_versions

ONE, OTHER = uuid4(), uuid4()


def candidate(document: UUID, version: int, score: float) -> Candidate:
    return Candidate(str(uuid4()), score, str(document), version)


def hit(document: UUID, version: int) -> tuple[Candidate, Passage]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    passage = Passage(document, version, 0, "default", "text", "", [], 0, 4, [], {}, moment)
    return Candidate(str(uuid4()), 1.0), passage


def test_only_the_highest_version_of_a_document_is_shown() -> None:
    old, new, other = hit(ONE, 1), hit(ONE, 2), hit(OTHER, 1)

    assert of_newest_versions([old, new, other]) == [new, other]


def test_grouped_by_document_the_best_passage_of_each_is_shown() -> None:
    best, worse, other = candidate(ONE, 1, 0.9), candidate(ONE, 1, 0.8), candidate(OTHER, 1, 0.7)

    assert best_of_documents([best, worse, other]) == [best, other]


def test_grouped_by_document_an_old_version_gives_way_to_a_new_one() -> None:
    old, other, new = candidate(ONE, 1, 0.9), candidate(OTHER, 1, 0.8), candidate(ONE, 2, 0.7)

    assert best_of_documents([old, other, new]) == [other, new]
