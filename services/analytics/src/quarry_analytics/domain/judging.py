"""Judged queries: merging them, grades from clicks, and what a run says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from quarry_analytics.domain.texts import normal
from quarry_client import evaluation
from quarry_common.contracts.analytics import JudgedQuery, JudgementSource, MeasuredQuery, Measures

MIN_CLICKS: Final = 2
BEST_GRADE: Final = 3
WORST_SHOWN: Final = 20


def merged(known: Sequence[JudgedQuery], added: Iterable[JudgedQuery]) -> list[JudgedQuery]:
    """Return the queries with those that are not among them, and with judgements where there were none.

    What somebody has judged by hand is never replaced.
    """
    found = {normal(query.query): query for query in known}
    for query in added:
        name = normal(query.query)
        if name not in found or (query.judgements and not found[name].judgements):
            found[name] = query
    return list(found.values())


def graded(clicks: Mapping[UUID, int]) -> dict[UUID, int]:
    """Return grades from 1 to 3 of documents by how many answers' users clicked on them: in thirds of the
    most clicked one. A single click says nothing."""
    enough = {document: count for document, count in clicks.items() if count >= MIN_CLICKS}
    most = max(enough.values(), default=0)
    return {document: -(-count * BEST_GRADE // most) for document, count in enough.items()}


def from_clicks(query: str, clicks: Mapping[UUID, int]) -> JudgedQuery:
    """Return a query judged by its clicks."""
    return JudgedQuery(query=query, judgements=graded(clicks), source=JudgementSource.CLICKS)


def is_judged(query: JudgedQuery) -> bool:
    """Whether there is a relevant document, so that a ranking can be measured."""
    return any(grade > 0 for grade in query.judgements.values())


def measured(ranking: Sequence[UUID], judgements: Mapping[UUID, int]) -> Measures:
    """Return how good a ranking of documents is."""
    documents = [str(each) for each in ranking]
    grades = {str(document): grade for document, grade in judgements.items()}
    return Measures(
        ndcg_at_10=evaluation.ndcg(documents, grades),
        recall_at_100=evaluation.recall(documents, grades),
        mean_reciprocal_rank=evaluation.reciprocal_rank(documents, grades),
    )


def averaged(measures: Sequence[Measures]) -> Measures:
    """Return the means over queries; null of none."""
    if not measures:
        return Measures(ndcg_at_10=None, recall_at_100=None, mean_reciprocal_rank=None)
    return Measures(
        ndcg_at_10=evaluation.mean(each.ndcg_at_10 or 0.0 for each in measures),
        recall_at_100=evaluation.mean(each.recall_at_100 or 0.0 for each in measures),
        mean_reciprocal_rank=evaluation.mean(each.mean_reciprocal_rank or 0.0 for each in measures),
    )


def worst(now: Mapping[str, Measures], before: Mapping[str, Measures]) -> list[MeasuredQuery]:
    """Return the queries whose nDCG fell most since the run before, then those where it is lowest."""

    def loss(query: str) -> tuple[float, float, str]:
        found = now[query].ndcg_at_10 or 0.0
        known = before.get(query)
        return (found - ((known.ndcg_at_10 or 0.0) if known else found), found, query)

    return [
        MeasuredQuery(query=query, measures=now[query], before=before.get(query))
        for query in sorted(now, key=loss)[:WORST_SHOWN]
    ]
