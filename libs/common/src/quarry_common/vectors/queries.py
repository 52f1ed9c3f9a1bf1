"""The requests of a search: one per leg, each within the scope."""

from collections.abc import Awaitable, Mapping

import msgspec
import numpy as np

from quarry_common.embedding.bm25 import SparseVector
from quarry_common.vectors.filters import Scope, encoded_corpus, encoded_visible
from quarry_common.vectors.fusion import FusionWeights
from quarry_common.vectors.points import DENSE, SPARSE, DenseVector, Passage
from quarry_common.vectors.reads import IdfCorpus, Leg, Params, SparseValues

DOCUMENT_FIELDS = ["document_id", "version"]


class Legs(msgspec.Struct, frozen=True):
    """What is searched by: a vector for each leg that is to run, and how much each counts where both do.

    A dense vector that is still being made may be given as what brings it: the other leg does not wait.
    """

    dense: DenseVector | Awaitable[DenseVector] | None = None
    sparse: SparseVector | None = None
    weights: FusionWeights = FusionWeights(0.5, 0.5)


class Candidate(msgspec.Struct, frozen=True):
    """A point that a search found. Its ids are as the index writes them: few of hundreds are ever shown."""

    chunk_id: str
    score: float
    document_id: str = ""
    """Empty, as the version is 0, when documents were not asked for."""
    version: int = 0


class Ranking(msgspec.Struct, frozen=True):
    """What a search found, best first: in all, and by each leg."""

    candidates: list[Candidate]
    dense: list[Candidate]
    sparse: list[Candidate]
    passages: Mapping[str, Passage] = {}
    """Passages of the best candidates, where they were read on the way."""


def dense_leg(scope: Scope, vector: DenseVector, depth: int, *, documents: bool, hnsw_ef: int) -> Leg:
    """Return the request for the points nearest to `vector`."""
    return Leg(
        query=vector.tolist() if isinstance(vector, np.ndarray) else list(vector),
        using=DENSE,
        filter=encoded_visible(scope),
        params=Params(hnsw_ef=max(hnsw_ef, depth)),
        limit=depth,
        with_payload=DOCUMENT_FIELDS if documents else False,
    )


def sparse_leg(scope: Scope, vector: SparseVector, depth: int, *, documents: bool) -> Leg:
    """Return the request for the points that share most with `vector`, with the IDF of what is searched."""
    return Leg(
        query=SparseValues(vector.indices, vector.values),
        using=SPARSE,
        filter=encoded_visible(scope),
        params=Params(idf=IdfCorpus(encoded_corpus(scope))),
        limit=depth,
        with_payload=DOCUMENT_FIELDS if documents else False,
    )
