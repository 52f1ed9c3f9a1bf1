import pytest

from quarry_common.vectors.fusion import (
    DENSE_WEIGHT,
    DENSE_WEIGHT_FOREIGN,
    DENSE_WEIGHT_RELATED,
    fuse,
    fusion_weights,
)

ENGLISH = "what is the lift of a wing"


@pytest.mark.parametrize(
    ("query", "weight"),
    [
        (ENGLISH, DENSE_WEIGHT),
        ("wing flutter", DENSE_WEIGHT),
        ("ERR-1042", DENSE_WEIGHT),
        ("why do patients die after surgery", DENSE_WEIGHT),
        ("Wie viele Punkte gab die Verteidigung der Panthers ab?", DENSE_WEIGHT_RELATED),
        ("quels sont les effets de la pression", DENSE_WEIGHT_RELATED),
        ("पैंथर्स डिफ़ेंस ने कितने अंक दिए?", DENSE_WEIGHT_FOREIGN),
        ("黑豹队的防守丢了多少分?", DENSE_WEIGHT_FOREIGN),
        ("ما هو عدد النقاط", DENSE_WEIGHT_FOREIGN),
        ("DECnet क्या है", DENSE_WEIGHT_FOREIGN),
        ("", DENSE_WEIGHT),
    ],
)
def test_the_dense_leg_counts_as_far_as_the_embedder_knows_the_language(query: str, weight: float) -> None:
    weights = fusion_weights(query)
    assert weights.dense == weight
    assert weights.dense + weights.sparse == pytest.approx(1)


def test_a_multilingual_embedder_counts_in_every_language() -> None:
    assert fusion_weights("黑豹队的防守", multilingual=True).dense == DENSE_WEIGHT


@pytest.mark.parametrize(
    ("language", "query", "weight"),
    [
        ("en", "Wie viele Punkte gab die Verteidigung der Panthers ab?", DENSE_WEIGHT),
        ("de", "Panthers", DENSE_WEIGHT_RELATED),
        ("hi", "Panthers", DENSE_WEIGHT_FOREIGN),
        ("en", "黑豹队的防守", DENSE_WEIGHT_FOREIGN),
    ],
)
def test_the_language_of_the_documents_decides_when_it_is_known(
    language: str, query: str, weight: float
) -> None:
    assert fusion_weights(query, language=language).dense == weight


def test_a_weight_that_was_chosen_is_taken() -> None:
    assert fusion_weights("黑豹队的防守", language="zh", dense=0.9).dense == 0.9


def test_a_point_of_both_legs_comes_before_the_best_of_one() -> None:
    ranking = fuse(fusion_weights(ENGLISH), [("d", 0.8), ("both", 0.7)], [("s", 9.0), ("both", 8.0)])
    assert [point for point, _ in ranking] == ["both", "d", "s"]
    assert ranking[0][1] == pytest.approx(DENSE_WEIGHT * 7 / 8 + (1 - DENSE_WEIGHT) * 8 / 9)


def test_in_a_foreign_script_keywords_decide_and_likeness_breaks_ties() -> None:
    ranking = fuse(fusion_weights("黑豹队"), [(3, 0.9), (2, 0.8)], [(1, 5.0), (2, 5.0)])
    assert [point for point, _ in ranking] == [2, 1, 3]


def test_one_leg_alone_is_ranked_as_it_is() -> None:
    assert [point for point, _ in fuse(fusion_weights(ENGLISH), [], [(1, 2.0), (2, 1.0)])] == [1, 2]
    assert [point for point, _ in fuse(fusion_weights(ENGLISH), [(1, 0.2), (2, 0.1)], [])] == [1, 2]
    assert fuse(fusion_weights(ENGLISH), [], []) == []


def test_scores_below_zero_count_as_nothing() -> None:
    assert fuse(fusion_weights(ENGLISH), [(1, -0.1), (2, -0.2)], []) == [(1, 0.0), (2, 0.0)]
