import pytest

from quarry_common.embedding.bm25 import encode_query, term_id
from quarry_search.domain.typos import MAX_TERMS, correctable, widened


@pytest.mark.parametrize("slip", ["turbin", "turbinne", "turbone", "tubrine", "trubine", "turbine"])
def test_a_word_one_edit_away_is_looked_for(slip: str) -> None:
    wider = widened(encode_query(slip), correctable([slip]))

    assert set(encode_query("turbine").indices) <= set(wider.indices)
    assert wider.indices == sorted(set(wider.indices))


def test_what_is_written_weighs_more_than_what_may_be_meant() -> None:
    wider = widened(encode_query("turbin"), ["turbin"])
    weights = dict(zip(wider.indices, wider.values, strict=True))

    assert weights[encode_query("turbin").indices[0]] == 1.0
    assert weights[term_id("turbid")] == 0.5


def test_short_words_numbers_and_identifiers_are_not_corrected() -> None:
    assert correctable(["the", "2024", "ERR-1042", "read_config", "größe", "pump"]) == ["pump"]


def test_of_a_long_query_the_longest_words_are_corrected() -> None:
    words = ["a" * length for length in range(4, 20)]

    assert correctable(words) == [words[-1 - n] for n in range(MAX_TERMS)]
