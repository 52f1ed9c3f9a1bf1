"""Judged queries are merged without losing what somebody judged; a run tells what got worse."""

from uuid import uuid4

import pytest

from quarry_analytics.domain.judging import averaged, from_clicks, graded, measured, merged, worst
from quarry_common.contracts.analytics import JudgedQuery, JudgementSource, Measures

ONE, TWO, THREE = uuid4(), uuid4(), uuid4()


def of(ndcg: float) -> Measures:
    return Measures(ndcg_at_10=ndcg, recall_at_100=1.0, mean_reciprocal_rank=ndcg)


def test_what_was_judged_by_hand_stays_and_what_was_not_is_judged() -> None:
    known = [JudgedQuery(query="lease", judgements={ONE: 3}), JudgedQuery(query="deposit")]

    found = merged(
        known, [from_clicks(" LEASE", {TWO: 9}), from_clicks("deposit", {TWO: 9}), JudgedQuery(query="rent")]
    )

    assert [each.query for each in found] == ["lease", "deposit", "rent"]
    assert found[0].judgements == {ONE: 3}
    assert (found[1].judgements, found[1].source) == ({TWO: 3}, JudgementSource.CLICKS)


def test_grades_are_thirds_of_the_most_clicked_and_one_click_says_nothing() -> None:
    assert graded({ONE: 12, TWO: 5, THREE: 1}) == {ONE: 3, TWO: 2}
    assert graded({ONE: 1}) == {}


def test_a_ranking_is_measured_as_trec_eval_does() -> None:
    found = measured([TWO, ONE], {ONE: 3, THREE: 1})

    assert found.recall_at_100 == 0.5
    assert found.mean_reciprocal_rank == 0.5
    assert found.ndcg_at_10 == pytest.approx((3 / 1.584962) / (3 + 1 / 1.584962), rel=1e-5)


def test_means_of_nothing_are_null() -> None:
    assert averaged([]).ndcg_at_10 is None
    assert averaged([of(0.5), of(1.0)]).ndcg_at_10 == 0.75


def test_the_worst_are_those_that_lost_most() -> None:
    found = worst({"a": of(0.9), "b": of(0.5), "c": of(0.1)}, {"a": of(1.0), "b": of(0.9), "c": of(0.1)})

    assert [each.query for each in found] == ["b", "a", "c"]
    assert found[2].before == of(0.1)
