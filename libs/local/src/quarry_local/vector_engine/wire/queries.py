"""Bodies of the requests that read points."""

from __future__ import annotations

from typing import Literal

from quarry_local.vector_engine.wire.base import PointId, SparseVector, Wire
from quarry_local.vector_engine.wire.filters import Filter


class PayloadSelector(Wire, frozen=True):
    """Payload keys to return, or not to return."""

    include: list[str] | None = None
    exclude: list[str] | None = None


WithPayload = bool | list[str] | PayloadSelector
WithVector = bool | list[str]


class OrderBy(Wire, frozen=True):
    """Order by a payload field that has a range index."""

    key: str
    direction: Literal["asc", "desc"] | None = None
    start_from: int | float | str | None = None


class Rrf(Wire, frozen=True):
    """Reciprocal rank fusion: each source adds 1 / ((rank + 1) / weight + k - 1), rank from 0."""

    k: int | None = None
    weights: list[float] | None = None


class IdfCorpus(Wire, frozen=True):
    """The points over which IDF is taken."""

    corpus: Filter


class QuantizationSearch(Wire, frozen=True):
    """How quantized vectors are used in a search."""

    ignore: bool = False
    rescore: bool | None = None
    oversampling: float | None = None


class SearchParams(Wire, frozen=True):
    """How a vector index is searched."""

    hnsw_ef: int | None = None
    exact: bool | None = None
    indexed_only: bool | None = None
    quantization: QuantizationSearch | None = None
    idf: Literal["global"] | IdfCorpus | None = None


class Scoring(Wire, frozen=True):
    """How candidates are scored: a sparse vector (indices, values) or exactly one of the other fields."""

    indices: list[int] | None = None
    values: list[float] | None = None
    nearest: list[float] | SparseVector | None = None
    fusion: Literal["rrf", "dbsf"] | None = None
    rrf: Rrf | None = None
    order_by: str | OrderBy | None = None


class Prefetch(Wire, frozen=True):
    """A stage whose results are the candidates of the stage that holds it."""

    prefetch: list[Prefetch] | Prefetch | None = None
    query: list[float] | Scoring | None = None
    using: str | None = None
    filter: Filter | None = None
    params: SearchParams | None = None
    score_threshold: float | None = None
    limit: int | None = None


class Query(Wire, frozen=True):
    """A query."""

    prefetch: list[Prefetch] | Prefetch | None = None
    query: list[float] | Scoring | None = None
    using: str | None = None
    filter: Filter | None = None
    params: SearchParams | None = None
    score_threshold: float | None = None
    limit: int | None = None
    offset: int | None = None
    with_vector: WithVector | None = None
    with_payload: WithPayload | None = None


class QueryBatch(Wire, frozen=True):
    """Queries answered together, in their order."""

    searches: list[Query]


class Retrieve(Wire, frozen=True):
    """Points by id."""

    ids: list[PointId]
    with_payload: WithPayload | None = None
    with_vector: WithVector | None = None


class Scroll(Wire, frozen=True):
    """Points in the order of their ids, or of a payload field."""

    offset: PointId | None = None
    limit: int | None = None
    filter: Filter | None = None
    with_payload: WithPayload | None = None
    with_vector: WithVector | None = None
    order_by: str | OrderBy | None = None


class Count(Wire, frozen=True):
    """How many points match."""

    filter: Filter | None = None
    exact: bool | None = None


class Facet(Wire, frozen=True):
    """The most frequent values of an indexed payload field."""

    key: str
    limit: int | None = None
    filter: Filter | None = None
    exact: bool | None = None
