"""BM25 as sparse vectors: term frequencies in the document's vector, IDF added by the index.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework". Qdrant multiplies each query weight by the term's
IDF (`modifier: idf`), so a document's vector never changes when others come or go.
"""

import hashlib
from collections import Counter
from functools import lru_cache

import msgspec

from quarry_common.embedding.analyzer import analyze

K1 = 1.2
B = 0.75


class SparseVector(msgspec.Struct, frozen=True):
    """Weights of terms. `indices` are 32-bit hashes of terms, ascending and distinct."""

    indices: list[int]
    values: list[float]


def encode_document(text: str, average_length: float) -> SparseVector:
    """Return the vector of a document (a chunk). `average_length` is the mean number of terms of such documents."""
    counts = Counter(map(term_id, analyze(text)))
    norm = K1 * (1 - B + B * counts.total() / average_length)
    return _sparse({term: count * (K1 + 1) / (count + norm) for term, count in counts.items()})


def encode_query(text: str) -> SparseVector:
    """Return the vector of a query; a term that is repeated weighs more."""
    return _sparse({term: float(count) for term, count in Counter(map(term_id, analyze(text))).items()})


@lru_cache(maxsize=1 << 17)
def term_id(term: str) -> int:
    """Return the term's stable 32-bit id. Of 100,000 terms about one pair shares an id."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "little")


def _sparse(weights: dict[int, float]) -> SparseVector:
    indices = sorted(weights)
    return SparseVector(indices, [weights[index] for index in indices])
