"""Likely misspellings of terms that stand nowhere, so that a slip of the finger still finds something.

The index knows terms by their hashes only, so every string one edit away is looked for (Damerau 1964: one
letter left out, added, replaced, or two swapped); those that stand nowhere cost nothing in the score.
"""

from collections.abc import Sequence
from string import ascii_lowercase

from quarry_common.embedding.analyzer import token_terms
from quarry_common.embedding.bm25 import SparseVector, term_id

MIN_LETTERS = 4
"""Of shorter words too many others are one edit away."""
MAX_LETTERS = 20
MAX_TERMS = 8
WEIGHT = 0.5
"""Of a term that may be meant, beside 1 for one that is written."""


def correctable(words: Sequence[str]) -> list[str]:
    """Return those of a query's words that may be misspelt, the longest ones first."""
    plain = [
        word
        for word in words
        if word.isascii() and word.isalpha() and MIN_LETTERS <= len(word) <= MAX_LETTERS
    ]
    return sorted(dict.fromkeys(word.lower() for word in plain), key=len, reverse=True)[:MAX_TERMS]


def widened(exact: SparseVector, words: Sequence[str]) -> SparseVector:
    """Return `exact` with the terms that are one edit away from `words`, at half the weight."""
    weights = {
        term_id(term): WEIGHT for word in words for variant in _edits(word) for term in token_terms(variant)
    }
    weights |= dict(zip(exact.indices, exact.values, strict=True))
    indices = sorted(weights)
    return SparseVector(indices, [weights[index] for index in indices])


def _edits(word: str) -> set[str]:
    splits = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    dropped = {left + right[1:] for left, right in splits if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in splits if len(right) > 1}
    replaced = {left + letter + right[1:] for left, right in splits if right for letter in ascii_lowercase}
    added = {left + letter + right for left, right in splits for letter in ascii_lowercase}
    return dropped | swapped | replaced | added
