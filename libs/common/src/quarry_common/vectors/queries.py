"""The requests of a search: one per leg, each within the scope."""

import msgspec
import numpy as np
from qdrant_client import models

from quarry_common.embedding.bm25 import SparseVector
from quarry_common.vectors.filters import Scope, corpus, visible
from quarry_common.vectors.points import DenseVector
from quarry_common.vectors.schema import DENSE, SPARSE

DOCUMENT_FIELDS = ["document_id", "version"]


class Legs(msgspec.Struct, frozen=True):
    """What is searched by: the query's text and its vector for each leg that is to run."""

    text: str
    dense: DenseVector | None = None
    sparse: SparseVector | None = None


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


def dense_request(
    scope: Scope, vector: DenseVector, depth: int, *, documents: bool, hnsw_ef: int
) -> models.QueryRequest:
    """Return the request for the points nearest to `vector`."""
    return models.QueryRequest(
        query=vector.tolist() if isinstance(vector, np.ndarray) else list(vector),
        using=DENSE,
        filter=visible(scope),
        params=models.SearchParams(hnsw_ef=max(hnsw_ef, depth)),
        limit=depth,
        with_payload=DOCUMENT_FIELDS if documents else False,
        with_vector=False,
    )


def sparse_request(scope: Scope, vector: SparseVector, depth: int, *, documents: bool) -> models.QueryRequest:
    """Return the request for the points that share most with `vector`, with the IDF of what is searched."""
    return models.QueryRequest(
        query=models.SparseVector(indices=vector.indices, values=vector.values),
        using=SPARSE,
        filter=visible(scope),
        params=models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus(scope))),
        limit=depth,
        with_payload=DOCUMENT_FIELDS if documents else False,
        with_vector=False,
    )
