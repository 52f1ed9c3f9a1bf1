"""Which payload indexes are mapped from their files, and which are built in memory when a shard is opened."""

import qdrant_edge as edge

from quarry_common.vectors.schema import PAYLOAD_INDEXES
from quarry_local.vector_engine.shards.schemas import edge_config, edge_index
from quarry_local.vector_engine.wire.collections import (
    CreateCollection,
    IndexParams,
    SparseIndexParams,
    SparseVectorParams,
)

ASKED_BY_EVERY_SEARCH = {"tenant_id", "active", "restricted"}


def memory_of(params: IndexParams) -> edge.Memory | None:
    schema = edge_index(params)
    assert not isinstance(schema, edge.PayloadSchemaType)
    return schema.memory


def test_of_quarrys_indexes_only_those_that_every_search_asks_are_built_in_memory() -> None:
    placed = {
        field: memory_of(
            IndexParams(
                params.type.value,
                is_tenant=getattr(params, "is_tenant", None),
                lookup=getattr(params, "lookup", None),
                range=getattr(params, "range", None),
            )
        )
        for field, params in PAYLOAD_INDEXES.items()
    }

    assert {field for field, memory in placed.items() if memory is None} == ASKED_BY_EVERY_SEARCH
    assert all(memory in (None, edge.Memory.Cached) for memory in placed.values())


def test_an_index_lies_where_it_is_told_to() -> None:
    assert memory_of(IndexParams("keyword", on_disk=False)) is None
    assert memory_of(IndexParams("keyword", on_disk=True)) is None


def test_the_sparse_index_is_mapped_unless_it_is_told_otherwise() -> None:
    told = SparseVectorParams(index=SparseIndexParams(on_disk=False))
    config = edge_config(CreateCollection(sparse_vectors={"bm25": SparseVectorParams(), "told": told}))

    assert config.sparse_vectors["bm25"].memory == edge.Memory.Cached
    assert config.sparse_vectors["told"].memory is None
