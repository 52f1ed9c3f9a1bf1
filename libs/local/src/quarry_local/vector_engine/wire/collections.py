"""Bodies of the requests that make and change collections and their payload indexes."""

from typing import Literal, TypeVar

import msgspec

from quarry_local.vector_engine.wire.base import Wire

Distance = Literal["Cosine", "Euclid", "Dot", "Manhattan"]
Datatype = Literal["float32", "float16", "uint8"]


class HnswConfig(Wire, frozen=True, omit_defaults=True):
    """HNSW settings; what is absent has Qdrant's default."""

    m: int | None = None
    ef_construct: int | None = None
    full_scan_threshold: int | None = None
    max_indexing_threads: int | None = None
    on_disk: bool | None = None
    payload_m: int | None = None


class OptimizersConfig(Wire, frozen=True, omit_defaults=True):
    """Settings of the optimizers; what is absent has Qdrant's default."""

    deleted_threshold: float | None = None
    vacuum_min_vector_number: int | None = None
    default_segment_number: int | None = None
    max_segment_size: int | None = None
    indexing_threshold: int | None = None


class ScalarQuantization(Wire, frozen=True, omit_defaults=True):
    """Vectors rounded to eight bits."""

    type: Literal["int8"]
    quantile: float | None = None
    always_ram: bool | None = None


class Quantization(Wire, frozen=True, omit_defaults=True):
    """The one kind of quantization that is supported."""

    scalar: ScalarQuantization


class VectorParams(Wire, frozen=True, omit_defaults=True):
    """A dense vector of a collection."""

    size: int
    distance: Distance
    hnsw_config: HnswConfig | None = None
    quantization_config: Quantization | None = None
    on_disk: bool | None = None
    datatype: Datatype | None = None


class SparseIndexParams(Wire, frozen=True, omit_defaults=True):
    """The inverted index of a sparse vector."""

    full_scan_threshold: int | None = None
    on_disk: bool | None = None
    datatype: Datatype | None = None


class SparseVectorParams(Wire, frozen=True, omit_defaults=True):
    """A sparse vector of a collection."""

    index: SparseIndexParams | None = None
    modifier: Literal["none", "idf"] | None = None


class CreateCollection(Wire, frozen=True, omit_defaults=True):
    """A collection to create. The counts of shards and replicas may only be one."""

    vectors: dict[str, object] | None = None
    """The parameters of the one vector, or of each vector by its name; `schemas` tells which."""
    sparse_vectors: dict[str, SparseVectorParams] | None = None
    hnsw_config: HnswConfig | None = None
    optimizers_config: OptimizersConfig | None = None
    quantization_config: Quantization | None = None
    on_disk_payload: bool | None = None
    shard_number: Literal[1] | None = None
    replication_factor: Literal[1] | None = None
    write_consistency_factor: Literal[1] | None = None
    sharding_method: Literal["auto"] | None = None
    metadata: dict[str, object] | None = None


class UpdateCollection(Wire, frozen=True):
    """Settings to change; they take effect at the next optimisation."""

    hnsw_config: HnswConfig | None = None
    optimizers_config: OptimizersConfig | None = None
    metadata: dict[str, object] | None = None


IndexType = Literal["keyword", "integer", "float", "bool", "datetime", "uuid", "text"]


class IndexParams(Wire, frozen=True, omit_defaults=True):
    """A payload index of any type; `schemas` refuses what the type does not have."""

    type: IndexType
    is_tenant: bool | None = None
    is_principal: bool | None = None
    lookup: bool | None = None
    range: bool | None = None
    on_disk: bool | None = None
    enable_hnsw: bool | None = None
    prefix: bool | None = None
    tokenizer: Literal["prefix", "whitespace", "word", "multilingual"] | None = None
    min_token_len: int | None = None
    max_token_len: int | None = None
    lowercase: bool | None = None
    phrase_matching: bool | None = None


class CreateIndex(Wire, frozen=True):
    """A payload index to create."""

    field_name: str
    field_schema: IndexType | IndexParams


ConfigT = TypeVar("ConfigT", HnswConfig, OptimizersConfig)


def given_fields(source: msgspec.Struct) -> dict[str, object]:
    """Return the fields that are set."""
    return {name: value for name in source.__struct_fields__ if (value := getattr(source, name)) is not None}


def merged(old: ConfigT | None, new: ConfigT | None) -> ConfigT | None:
    """Return `old` with what `new` sets."""
    if old is None or new is None:
        return new or old
    return msgspec.structs.replace(old, **given_fields(new))


def updated(old: CreateCollection, update: UpdateCollection) -> CreateCollection:
    """Return the settings of a collection with what `update` sets; metadata that is null goes."""
    metadata = {**(old.metadata or {}), **(update.metadata or {})}
    return msgspec.structs.replace(
        old,
        hnsw_config=merged(old.hnsw_config, update.hnsw_config),
        optimizers_config=merged(old.optimizers_config, update.optimizers_config),
        metadata={key: value for key, value in metadata.items() if value is not None} or None,
    )
