"""How good a ranking is against human judgements, as trec_eval defines it.

Grades map a document's id to its relevance; what is not judged, or judged zero or less, counts as not
relevant. A ranking lists ids, best first; an id that comes again counts once, at its first place.
"""

import math
from collections.abc import Iterable, Mapping, Sequence


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """Return graded nDCG at `k`, between 0 and 1.

    Gain is the grade itself, discount log2(rank + 1), and the ideal ranking is made from everything
    judged (Järvelin and Kekäläinen 2002 in the form of trec_eval's `ndcg_cut`).
    """
    gains = [max(grades.get(document, 0), 0) for document in _distinct(ranking)[:k]]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    return _discounted(gains) / _discounted(ideal) if ideal else 0.0


def recall(ranking: Sequence[str], grades: Mapping[str, int], k: int = 100) -> float:
    """Return which share of the relevant documents is among the first `k`."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    if not relevant:
        return 0.0
    return len(relevant.intersection(_distinct(ranking)[:k])) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """Return one divided by the place of the first relevant document; 0 when there is none."""
    for place, document in enumerate(_distinct(ranking), start=1):
        if grades.get(document, 0) > 0:
            return 1 / place
    return 0.0


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean; 0 of nothing."""
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _distinct(ranking: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(ranking))
