import math

import pytest

from quarry_common.embedding.bm25 import (
    K1,
    TYPICAL_LENGTH,
    B,
    document_length,
    encode_document,
    encode_query,
    term_id,
)


def test_term_ids_never_change() -> None:
    assert term_id("wing") == 2719846924
    assert term_id("पैंथर्स") == 2058160480


def test_a_document_of_average_length_weighs_terms_by_saturated_frequency() -> None:
    vector = dict(zip_vector("wing wing flutter", average_length=3))
    assert vector[term_id("wing")] == pytest.approx(2 * (K1 + 1) / (2 + K1))
    assert vector[term_id("flutt")] == pytest.approx(1.0)


def test_a_boosted_title_counts_as_often_as_the_boost_says_and_makes_no_document_longer() -> None:
    text = "Wing tests\nwing flutter"
    norm = K1 * (1 - B + B * 4 / TYPICAL_LENGTH)

    vector = encode_document(text, title="Wing tests", title_boost=2.5)

    weights = dict(zip(vector.indices, vector.values, strict=True))
    for term, count in {"wing": 3.5, "test": 2.5, "flutt": 1.0}.items():
        assert weights[term_id(term)] == pytest.approx(count * (K1 + 1) / (count + norm))
    assert len(weights) == 3


def test_a_title_that_counts_for_nothing_leaves_only_the_words_of_the_text() -> None:
    vector = encode_document("Wing tests\nwing flutter", title="Wing tests", title_boost=0)

    assert set(vector.indices) == {term_id("wing"), term_id("flutt")}


@pytest.mark.parametrize("text", ["Wing tests\nwing flutter", "Größe\nFlügel 石 snake_case"])
def test_without_a_boost_a_vector_is_the_same_to_the_last_bit(text: str) -> None:
    title, _, _ = text.partition("\n")

    assert encode_document(text, title=title, title_boost=1.0) == encode_document(text)


def test_a_longer_document_weighs_less() -> None:
    vector = dict(zip_vector("wing flutter", average_length=1))
    assert vector[term_id("wing")] == pytest.approx((K1 + 1) / (1 + K1 * (1 - B + B * 2)))


def test_a_query_weighs_each_term_once() -> None:
    vector = encode_query("wing wing flutter")
    assert sorted(vector.indices) == vector.indices
    assert vector.values == [1.0, 1.0]


def test_an_empty_text_is_an_empty_vector() -> None:
    assert encode_document(" … ", average_length=10).indices == []
    assert encode_query("").indices == []


def test_the_length_is_counted_in_terms() -> None:
    assert document_length("the snake_case name") == 5


@pytest.mark.parametrize("length", [0, -1, math.nan])
def test_an_average_length_that_is_not_positive_is_refused(length: float) -> None:
    with pytest.raises(ValueError, match="average_length must be positive"):
        encode_document("wing", average_length=length)


def zip_vector(text: str, average_length: float) -> list[tuple[int, float]]:
    vector = encode_document(text, average_length)
    return list(zip(vector.indices, vector.values, strict=True))
