from uuid import UUID, uuid4

import pytest

from quarry_common.errors import ValidationError
from quarry_common.vectors.queries import Candidate
from quarry_search.domain.ranking import check_text, ranked_list

ONE, OTHER = uuid4(), uuid4()


def candidate(document: UUID, version: int, score: float) -> Candidate:
    return Candidate(uuid4(), document, version, score)


def test_only_the_highest_version_of_a_document_is_shown() -> None:
    old, new, other = candidate(ONE, 1, 0.9), candidate(ONE, 2, 0.8), candidate(OTHER, 1, 0.7)

    assert ranked_list([old, new, other], group_by_document=False) == [new, other]


def test_grouped_by_document_the_best_passage_of_each_is_shown() -> None:
    best, worse, other = candidate(ONE, 1, 0.9), candidate(ONE, 1, 0.8), candidate(OTHER, 1, 0.7)

    assert ranked_list([best, worse, other], group_by_document=True) == [best, other]
    assert ranked_list([best, worse, other], group_by_document=False) == [best, worse, other]


@pytest.mark.parametrize("text", [" ", "\t\n", "\x00\x07", "\u200b\u00a0\u3000", "\ufeff"])
def test_a_query_of_spaces_and_control_characters_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as raised:
        check_text(text)

    assert raised.value.data.errors[0].field == "query"


@pytest.mark.parametrize("text", ["a", " ? ", "水", "\x00x"])
def test_any_other_query_is_not(text: str) -> None:
    check_text(text)
