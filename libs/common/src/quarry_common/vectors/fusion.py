"""One ranking from two: the dense leg (embedding) and the sparse leg (BM25)."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import msgspec

Id = TypeVar("Id", bound=Hashable)

LEG_LIMIT = 200
"""Points to ask of each leg at least."""


class FusionWeights(msgspec.Struct, frozen=True):
    """How much each leg counts; they add up to 1."""

    dense: float
    sparse: float


def fusion_weights(query: str) -> FusionWeights:
    """Return the weights that suit the query's text."""
    return FusionWeights(0.5, 0.5) if query.isascii() else FusionWeights(0.2, 0.8)


def fuse(
    query: str, dense: Sequence[tuple[Id, float]], sparse: Sequence[tuple[Id, float]]
) -> list[tuple[Id, float]]:
    """Return every point of either leg with its fused score (0..1), best first.

    The legs are (point id, score) as the index returned them, best first; points of equal score keep one order.
    """
    weights = fusion_weights(query)
    scores: dict[Id, float] = {}
    for weight, leg in ((weights.dense, dense), (weights.sparse, sparse)):
        for rank, (point, _) in enumerate(leg):
            scores[point] = scores.get(point, 0.0) + weight * 61 / (61 + rank)
    return sorted(scores.items(), key=lambda item: -item[1])
