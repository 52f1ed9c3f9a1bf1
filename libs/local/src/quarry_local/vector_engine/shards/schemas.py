"""From Qdrant's settings of collections and payload indexes to the engine library's."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine.errors import WrongInputError
from quarry_local.vector_engine.shards.vectors import DEFAULT, VectorSchema
from quarry_local.vector_engine.wire.collections import (
    CreateCollection,
    HnswConfig,
    IndexParams,
    IndexType,
    OptimizersConfig,
    Quantization,
    SparseVectorParams,
    VectorParams,
    given_fields,
    merged,
)

MAX_VECTOR_SIZE = 65_536
SEARCH_THREADS = 1
"""Threads of the library that search a shard's few segments. More take half a millisecond of waking up for
a query of 0.2 ms."""

DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Euclid": edge.Distance.Euclid,
    "Dot": edge.Distance.Dot,
    "Manhattan": edge.Distance.Manhattan,
}
DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
TOKENIZERS = {
    "prefix": edge.TokenizerType.Prefix,
    "whitespace": edge.TokenizerType.Whitespace,
    "word": edge.TokenizerType.Word,
    "multilingual": edge.TokenizerType.Multilingual,
}
INDEXES: dict[
    IndexType, tuple[edge.PayloadSchemaType, Callable[..., edge.PayloadSchemaParams], frozenset[str]]
] = {
    "keyword": (
        edge.PayloadSchemaType.Keyword,
        edge.KeywordIndexParams,
        frozenset({"is_tenant", "on_disk", "enable_hnsw", "prefix"}),
    ),
    "integer": (
        edge.PayloadSchemaType.Integer,
        edge.IntegerIndexParams,
        frozenset({"lookup", "range", "is_principal", "on_disk", "enable_hnsw"}),
    ),
    "float": (
        edge.PayloadSchemaType.Float,
        edge.FloatIndexParams,
        frozenset({"is_principal", "on_disk", "enable_hnsw"}),
    ),
    "bool": (edge.PayloadSchemaType.Bool, edge.BoolIndexParams, frozenset({"on_disk", "enable_hnsw"})),
    "datetime": (
        edge.PayloadSchemaType.Datetime,
        edge.DatetimeIndexParams,
        frozenset({"is_principal", "on_disk", "enable_hnsw"}),
    ),
    "uuid": (
        edge.PayloadSchemaType.Uuid,
        edge.UuidIndexParams,
        frozenset({"is_tenant", "on_disk", "enable_hnsw"}),
    ),
    "text": (
        edge.PayloadSchemaType.Text,
        edge.TextIndexParams,
        frozenset({"tokenizer", "min_token_len", "max_token_len", "lowercase", "phrase_matching"})
        | {"on_disk", "enable_hnsw"},
    ),
}
DATA_TYPES: dict[str, IndexType] = {str(kind): name for name, (kind, _, _) in INDEXES.items()}


def vector_schema(source: CreateCollection) -> VectorSchema:
    """Return the vectors that `source` declares; raises `WrongInputError` when it declares them wrongly."""
    dense = {name: params.size for name, params in _dense(source).items()}
    sparse = frozenset(source.sparse_vectors or ())
    if not dense and not sparse:
        raise WrongInputError("a collection needs at least one of vectors and sparse_vectors")
    if both := sparse & dense.keys():
        raise WrongInputError(f"the vector name {min(both)} is used for a dense and a sparse vector")
    for name, size in dense.items():
        if not 1 <= size <= MAX_VECTOR_SIZE:
            raise WrongInputError(
                f"the size of vector `{name}` must be from 1 to {MAX_VECTOR_SIZE}, not {size}"
            )
    return VectorSchema(dense, sparse)


def edge_config(source: CreateCollection) -> edge.EdgeConfig:
    """Return the configuration of a new shard; raises `WrongInputError`."""
    return edge.EdgeConfig(
        vectors={name: _vector(params) for name, params in _dense(source).items()} or None,
        sparse_vectors={name: _sparse(params) for name, params in (source.sparse_vectors or {}).items()}
        or None,
        on_disk_payload=source.on_disk_payload,
        hnsw_config=_hnsw(source.hnsw_config),
        quantization_config=_quantization(source.quantization_config),
        optimizers=_optimizers(source.optimizers_config),
        max_search_threads=SEARCH_THREADS,
        wal_enabled=True,
    )


def single_threaded_config(source: CreateCollection) -> edge.EdgeConfig:
    """Return the same configuration for a process that may build graphs with one thread only."""
    one = HnswConfig(max_indexing_threads=1)
    vectors = {
        name: msgspec.structs.replace(params, hnsw_config=merged(params.hnsw_config, one))
        if params.hnsw_config
        else params
        for name, params in _dense(source).items()
    }
    return edge_config(
        msgspec.structs.replace(
            source, vectors=msgspec.to_builtins(vectors), hnsw_config=merged(source.hnsw_config, one)
        )
    )


def edge_index(source: IndexType | IndexParams) -> edge.PayloadSchemaType | edge.PayloadSchemaParams:
    """Return a payload index's schema; raises `WrongInputError` for settings its type does not have."""
    if isinstance(source, str):
        return INDEXES[source][0]
    _, build, allowed = INDEXES[source.type]
    given = {name: value for name, value in given_fields(source).items() if name != "type"}
    if foreign := sorted(given.keys() - allowed):
        raise WrongInputError(f"an index of type {source.type} has no setting {', '.join(foreign)}")
    if "tokenizer" in given:
        given["tokenizer"] = TOKENIZERS[str(given["tokenizer"])]
    return build(**given, memory=_placement(source))


def _placement(source: IndexParams) -> edge.Memory | None:
    """Return where an index lies of which it is not said: mapped from its files, or in memory (None).

    One in memory is built anew each time a shard is opened, which an optimisation waits for. Only those that
    every search asks, the tenant's and flags, are worth it: mapped they cost a query 0.04 ms.
    """
    asked_always = source.is_tenant or (source.lookup and source.range is False)
    return None if source.on_disk is not None or asked_always else edge.Memory.Cached


def index_of(info: edge.PayloadIndexInfo) -> IndexParams:
    """Return what the library says of a payload index, as Qdrant writes it."""
    kind = DATA_TYPES[str(info.data_type)]
    given = {name: getattr(info.params, name) for name in INDEXES[kind][2]} if info.params else {}
    names = {str(value): name for name, value in TOKENIZERS.items()}
    if "tokenizer" in given:
        given["tokenizer"] = names.get(str(given["tokenizer"]))
    return IndexParams(kind, **given)


def _dense(source: CreateCollection) -> dict[str, VectorParams]:
    vectors = source.vectors or {}
    single = vectors and not all(isinstance(params, dict) for params in vectors.values())
    try:
        if single:
            return {DEFAULT: msgspec.convert(vectors, VectorParams)}
        return msgspec.convert(vectors, dict[str, VectorParams])
    except msgspec.ValidationError as error:
        raise WrongInputError(f"`vectors`: {error}") from None


def _vector(source: VectorParams) -> edge.EdgeVectorParams:
    return edge.EdgeVectorParams(
        source.size,
        DISTANCES[source.distance],
        on_disk=source.on_disk,
        datatype=DATATYPES[source.datatype] if source.datatype else None,
        quantization_config=_quantization(source.quantization_config),
        hnsw_config=_hnsw(source.hnsw_config),
    )


def _sparse(source: SparseVectorParams) -> edge.EdgeSparseVectorParams:
    index = source.index
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.full_scan_threshold if index else None,
        on_disk=index.on_disk if index else None,
        datatype=DATATYPES[index.datatype] if index and index.datatype else None,
        modifier=edge.Modifier.Idf if source.modifier == "idf" else None,
        # Mapped from its file: no slower, and opened in a third of the time.
        memory=edge.Memory.Cached if index is None or index.on_disk is None else None,
    )


def _hnsw(source: HnswConfig | None) -> edge.HnswIndexConfig | None:
    if source is None:
        return None
    return edge.HnswIndexConfig(
        m=16 if source.m is None else source.m,
        ef_construct=source.ef_construct or 100,
        full_scan_threshold=10_000 if source.full_scan_threshold is None else source.full_scan_threshold,
        max_indexing_threads=source.max_indexing_threads or 0,
        on_disk=source.on_disk,
        payload_m=source.payload_m,
    )


def _optimizers(source: OptimizersConfig | None) -> edge.EdgeOptimizersConfig | None:
    return None if source is None else edge.EdgeOptimizersConfig(**given_fields(source))  # type: ignore[arg-type]


def _quantization(source: Quantization | None) -> edge.ScalarQuantizationConfig | None:
    if source is None:
        return None
    scalar = source.scalar
    return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, scalar.quantile, scalar.always_ram)
