"""From Qdrant's query bodies to the engine library's requests."""

from __future__ import annotations

from typing import Literal

import qdrant_edge as edge

from quarry_local.vector_engine.errors import WrongInputError
from quarry_local.vector_engine.shards.edge import call
from quarry_local.vector_engine.shards.filters import edge_filter
from quarry_local.vector_engine.shards.vectors import DEFAULT, VectorSchema
from quarry_local.vector_engine.wire.base import SparseVector
from quarry_local.vector_engine.wire.queries import (
    Facet,
    IdfCorpus,
    OrderBy,
    Prefetch,
    Query,
    Scoring,
    Scroll,
    SearchParams,
    WithPayload,
    WithVector,
)

DEFAULT_LIMIT = 10
MAX_LIMIT = 10_000
"""Most points that one query may rank (offset and limit together): one query stops the whole process."""

DEFAULT_RRF_K = 2
MAX_PREFETCH_DEPTH = 8

_KINDS = ("nearest", "fusion", "rrf", "order_by")


def query_request(source: Query, schema: VectorSchema) -> edge.QueryRequest:
    """Return the library's request for `source`; raises `WrongInputError`."""
    limit = page_limit(source.limit)
    offset = 0 if source.offset is None else source.offset
    if offset < 0 or limit + offset > MAX_LIMIT:
        raise WrongInputError(
            f"offset must not be negative, and offset and limit together at most {MAX_LIMIT}"
        )
    return edge.QueryRequest(
        limit=limit,
        offset=offset,
        query=_scoring(source, schema),
        prefetches=_prefetches(source.prefetch, schema, 0),
        with_vector=with_vector(source.with_vector),
        with_payload=with_payload(source.with_payload, False),
        filter=edge_filter(source.filter),
        score_threshold=source.score_threshold,
        params=_params(source.params),
    )


def is_bare(source: Query) -> bool:
    """Whether neither payload nor vectors nor values of an order are asked for with the points."""
    ordered = isinstance(source.query, Scoring) and source.query.order_by is not None
    return source.with_payload in (None, False) and source.with_vector in (None, False) and not ordered


def scroll_request(source: Scroll, limit: int, offset: edge.PointId | None) -> edge.ScrollRequest:
    """Return the library's request for one page of `source`; raises `WrongInputError`."""
    return edge.ScrollRequest(
        offset=offset,
        limit=limit,
        filter=edge_filter(source.filter),
        with_payload=with_payload(source.with_payload, True),
        with_vector=with_vector(source.with_vector),
        order_by=None if source.order_by is None else _order_by(source.order_by),
    )


def facet_request(source: Facet) -> edge.FacetRequest:
    """Return the library's request for `source`; raises `WrongInputError`."""
    return call(
        edge.FacetRequest,
        source.key,
        page_limit(source.limit),
        bool(source.exact),
        edge_filter(source.filter),
    )


def with_payload(source: WithPayload | None, default: bool) -> edge.WithPayloadType:
    """Return which payload keys the library is to return."""
    if source is None:
        return default
    if isinstance(source, bool | list):
        return source
    if (source.include is None) == (source.exclude is None):
        raise WrongInputError("with_payload needs exactly one of `include` and `exclude`")
    if source.include is not None:
        return call(edge.PayloadSelector.Include, source.include)
    return call(edge.PayloadSelector.Exclude, source.exclude)


def with_vector(source: WithVector | None) -> edge.WithVectorType:
    """Return which vectors the library is to return: none by default."""
    return False if source is None else source


def page_limit(limit: int | None) -> int:
    """Return how many points are asked for; raises `WrongInputError` outside 1 to `MAX_LIMIT`."""
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise WrongInputError(f"limit must be from 1 to {MAX_LIMIT}, not {limit}")
    return limit


def _prefetches(
    source: list[Prefetch] | Prefetch | None, schema: VectorSchema, depth: int
) -> list[edge.Prefetch] | None:
    if source is None:
        return None
    if depth > MAX_PREFETCH_DEPTH:
        raise WrongInputError(f"prefetch is nested deeper than {MAX_PREFETCH_DEPTH}")
    return [
        edge.Prefetch(
            limit=page_limit(item.limit),
            query=_scoring(item, schema),
            prefetches=_prefetches(item.prefetch, schema, depth + 1),
            params=_params(item.params),
            filter=edge_filter(item.filter),
            score_threshold=item.score_threshold,
        )
        for item in ([source] if isinstance(source, Prefetch) else source)
    ]


def _scoring(source: Query | Prefetch, schema: VectorSchema) -> edge.ScoringQueryType | None:
    query = source.query
    if query is None:
        if source.using is not None:
            raise WrongInputError("`using` has no meaning without `query`")
        return None
    name = DEFAULT if source.using is None else source.using
    if isinstance(query, list):
        return edge.Query.Nearest(schema.queried(name, query), using=name)
    if query.indices is not None or query.values is not None:
        vector = SparseVector(query.indices or [], query.values or [])
        return edge.Query.Nearest(schema.queried(name, vector), using=name)
    kinds = [kind for kind in _KINDS if getattr(query, kind) is not None]
    if len(kinds) != 1:
        raise WrongInputError(f"a query needs a vector or exactly one of {', '.join(_KINDS)}")
    if query.nearest is not None:
        return edge.Query.Nearest(schema.queried(name, query.nearest), using=name)
    if source.using is not None:
        raise WrongInputError(f"`using` has no meaning in a query by {kinds[0]}")
    return _ranking(query, source)


def _ranking(query: Scoring, source: Query | Prefetch) -> edge.ScoringQueryType:
    if query.order_by is not None:
        return _order_by(query.order_by)
    if not source.prefetch:
        raise WrongInputError("Validation failed: cannot apply Fusion without prefetches")
    if query.fusion == "dbsf":
        return edge.Fusion.Dbsf()  # type: ignore[return-value]
    if query.rrf is None:
        return edge.Fusion.Rrf(DEFAULT_RRF_K)  # type: ignore[return-value]
    k = DEFAULT_RRF_K if query.rrf.k is None else query.rrf.k
    if k < 1:
        raise WrongInputError(f"the k of a reciprocal rank fusion must be at least 1, not {k}")
    weights = query.rrf.weights
    sources = 1 if isinstance(source.prefetch, Prefetch) else len(source.prefetch)
    if weights is not None and len(weights) != sources:
        raise WrongInputError(
            f"RRF weights length ({len(weights)}) does not match number of prefetches ({sources})"
        )
    if weights is not None and any(weight < 0 for weight in weights):
        raise WrongInputError("the weights of a reciprocal rank fusion must not be negative")
    return call(edge.Fusion.Rrf, k, weights)  # type: ignore[return-value]


def _order_by(source: str | OrderBy) -> edge.OrderBy:
    if isinstance(source, str):
        return call(edge.OrderBy, source)
    directions: dict[Literal["asc", "desc"], edge.Direction] = {
        "asc": edge.Direction.Asc,
        "desc": edge.Direction.Desc,
    }
    direction = directions[source.direction] if source.direction else None
    return call(edge.OrderBy, source.key, direction, source.start_from)


def _params(source: SearchParams | None) -> edge.SearchParams | None:
    if source is None:
        return None
    quantization = source.quantization
    return edge.SearchParams(
        hnsw_ef=source.hnsw_ef,
        exact=bool(source.exact),
        indexed_only=bool(source.indexed_only),
        quantization=None
        if quantization is None
        else edge.QuantizationSearchParams(
            quantization.ignore, quantization.rescore, quantization.oversampling
        ),
        idf=edge.IdfParams(edge_filter(source.idf.corpus)) if isinstance(source.idf, IdfCorpus) else None,
    )
