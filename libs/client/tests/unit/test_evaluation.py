"""The measures agree with trec_eval's own code."""

import random

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from quarry_client.evaluation import mean, ndcg, recall

IDS = [f"d{number}" for number in range(150)]


def reference(ranking: list[str], grades: dict[str, int]) -> tuple[float, float]:
    evaluator = pytrec_eval.RelevanceEvaluator({"q": grades}, {"ndcg_cut.10", "recall.100"})
    measured = evaluator.evaluate({"q": {name: float(-rank) for rank, name in enumerate(ranking)}})["q"]
    return measured["ndcg_cut_10"], measured["recall_100"]


@given(
    grades=st.dictionaries(st.sampled_from(IDS), st.integers(-1, 4), min_size=1, max_size=60),
    ranking=st.lists(st.sampled_from(IDS), unique=True, min_size=1, max_size=120),
)
def test_ndcg_and_recall_are_those_of_trec_eval(grades: dict[str, int], ranking: list[str]) -> None:
    expected_ndcg, expected_recall = reference(ranking, grades)
    assert ndcg(ranking, grades) == pytest.approx(expected_ndcg, abs=1e-6)
    assert recall(ranking, grades) == pytest.approx(expected_recall, abs=1e-6)


def test_a_perfect_ranking_has_one_and_an_empty_one_zero() -> None:
    grades = {name: random.Random(1).randint(1, 4) for name in IDS[:30]}
    best_first = sorted(grades, key=lambda name: -grades[name])
    assert ndcg(best_first, grades) == 1.0
    assert recall(best_first, grades) == 1.0
    assert ndcg([], grades) == recall([], grades) == 0.0


def test_a_document_counts_once_at_its_first_place() -> None:
    grades = {"a": 2, "b": 1}
    assert ndcg(["a", "a", "b"], grades) == ndcg(["a", "b"], grades) == 1.0


def test_nothing_relevant_is_zero_and_the_mean_of_nothing_too() -> None:
    assert ndcg(["a"], {"a": 0}) == recall(["a"], {"a": 0}) == mean([]) == 0.0
    assert mean([1.0, 0.5]) == 0.75
