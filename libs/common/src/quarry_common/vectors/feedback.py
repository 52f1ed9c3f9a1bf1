"""The best of a fused ranking judged once more, by what the first few of them are about.

A short query says little; the passages that both legs put first say more. Their dense vectors, the first
counting most, are added to the query's, and the best are scored anew by that: Rocchio 1971, "Relevance
Feedback in Information Retrieval"; for dense vectors Li et al. 2021, "Pseudo Relevance Feedback with Deep
Language Models and Dense Retrievers". docs/quality.md tells what it gains, and what it costs.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quarry_common.vectors.fusion import FusionWeights
from quarry_common.vectors.points import DenseVector

PASSAGES: Final = 20
"""Passages that are scored anew. More change nothing among the first ten."""
TEACHERS: Final = 5
SHARE: Final = 0.3
"""Length of what they add to a query of length 1."""

_TENTH: Final = 10
_LEAST_TENTH: Final = 0.6
"""Share of the first passage's score. Where the tenth has less, somebody looked for the first ones and has
them: nothing can be learnt from others, and no time need be spent."""
_LEAST_WEIGHT: Final = 0.1


def helps(weights: FusionWeights, scores: Sequence[float]) -> bool:
    """Return whether a ranking with these fused scores, best first, is worth a second look.

    It is where many passages are nearly as good as the first, and both legs count.
    """
    if len(scores) < _TENTH or min(weights.dense, weights.sparse) < _LEAST_WEIGHT:
        return False
    return scores[_TENTH - 1] >= _LEAST_TENTH * scores[0]


def scored(
    weights: FusionWeights, query: DenseVector, passages: NDArray[np.float32], keywords: Sequence[float]
) -> list[float]:
    """Return a score (0..1) for each of `passages`.

    They are dense vectors in the order of the fused ranking; `keywords` are their scores in the sparse leg
    as shares of the best there.
    """
    asked = _unit(np.asarray(query, dtype=np.float32))
    first = passages[:TEACHERS]
    taught = _unit((first / np.arange(1, len(first) + 1, dtype=np.float32)[:, None]).sum(axis=0))
    likeness = np.maximum(passages @ (asked + SHARE * taught), 0.0)
    best = max(float(likeness.max()), np.finfo(np.float32).tiny)
    return [
        weights.dense * min(like / best, 1.0) + weights.sparse * keyword
        for like, keyword in zip(likeness.tolist(), keywords, strict=True)
    ]


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
