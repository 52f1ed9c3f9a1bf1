"""One ranking from two: the dense leg (embedding) and the sparse leg (BM25).

Each leg's scores are divided by the best of that leg, then added with weights; a point that a leg does not
have counts zero there. docs/quality.md compares this with reciprocal rank and distribution-based fusion.
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import msgspec
import regex

from quarry_common.embedding.stopwords import ENGLISH, OTHER_THAN_ENGLISH

Id = TypeVar("Id", bound=Hashable)

LEG_LIMIT = 200
"""Points to ask of each leg, or as many as are wanted if that is more; 50 cost .02 nDCG on one collection
of seven."""

DENSE_WEIGHT = 0.65
DENSE_WEIGHT_RELATED = 0.3
"""For Latin script but another language than the embedder learnt: it knows names and words of common
origin."""
DENSE_WEIGHT_FOREIGN = 0.001
"""For other scripts: the embedder orders only what keywords do not tell apart or do not find."""

_OTHER_SCRIPTS = frozenset(["ar", "bg", "el", "fa", "he", "hi", "ja", "ko", "ru", "sr", "th", "uk", "zh"])
"""Languages that are mostly written in another script than Latin."""

_LETTER = regex.compile(r"[\p{L}\p{M}]")
_LATIN = regex.compile(r"\p{Latin}")
_WORD = regex.compile(r"[\p{L}\p{M}]+")


class FusionWeights(msgspec.Struct, frozen=True):
    """How much each leg counts; they add up to 1."""

    dense: float
    sparse: float


def fusion_weights(
    query: str, *, language: str | None = None, dense: float | None = None, multilingual: bool = False
) -> FusionWeights:
    """Return the weights that suit the query's text.

    `language` is that of the documents (ISO 639-1), when it is known; `dense` is the weight of the dense leg,
    when it was chosen. `multilingual` says whether the embedder learnt more than English; if not, its leg
    counts less in other languages.
    """
    if dense is None:
        dense = DENSE_WEIGHT if multilingual else _english_dense_weight(query, language)
    return FusionWeights(dense, 1 - dense)


def fuse(
    weights: FusionWeights, dense: Sequence[tuple[Id, float]], sparse: Sequence[tuple[Id, float]]
) -> list[tuple[Id, float]]:
    """Return every point of either leg with its fused score (0..1), best first.

    The legs are (point id, score) as the index returned them, best first. Points of equal score keep the
    order in which the legs name them, dense first, so the same legs always give the same ranking.
    """
    scores: dict[Id, float] = {}
    for weight, leg in ((weights.dense, dense), (weights.sparse, sparse)):
        best = max((score for _, score in leg), default=0.0)
        for point, score in leg:
            share = weight * max(score, 0.0) / best if best > 0 else 0.0
            scores[point] = scores.get(point, 0.0) + share
    return sorted(scores.items(), key=lambda item: -item[1])


def _english_dense_weight(query: str, language: str | None) -> float:
    if language is not None and language != "en":
        return DENSE_WEIGHT_FOREIGN if language in _OTHER_SCRIPTS else DENSE_WEIGHT_RELATED
    letters = _LETTER.findall(query)
    latin = sum(1 for letter in letters if _LATIN.match(letter))
    if letters and latin * 2 <= len(letters):
        return DENSE_WEIGHT_FOREIGN
    if language is not None:
        return DENSE_WEIGHT
    words = [word.casefold() for word in _WORD.findall(query)]
    english = sum(1 for word in words if word in ENGLISH)
    foreign = sum(1 for word in words if word in OTHER_THAN_ENGLISH)
    return DENSE_WEIGHT_RELATED if foreign > english else DENSE_WEIGHT
