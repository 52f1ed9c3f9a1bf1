"""What is done with collections as a whole, without their points: one function per operation.

What is done with points is passed on to the collection's shard; `routes` says which path leads where.
"""

from __future__ import annotations

import msgspec

from quarry_local.vector_engine.collection import Collection
from quarry_local.vector_engine.store import Store
from quarry_local.vector_engine.wire.collections import (
    CreateCollection,
    HnswConfig,
    OptimizersConfig,
    UpdateCollection,
    updated,
)
from quarry_local.vector_engine.wire.shards import ShardInfo


class Target(msgspec.Struct, frozen=True):
    """What a request's path and query string say."""

    store: Store
    collection: str
    item: str = ""
    wait: bool = True


async def list_collections(target: Target) -> object:
    """Name every collection."""
    return {"collections": [{"name": name} for name in sorted(target.store.collections)]}


async def collection_exists(target: Target) -> object:
    """Say whether the collection exists."""
    return {"exists": target.collection in target.store.collections}


async def get_collection(target: Target) -> object:
    """Describe the collection."""
    collection = target.store.get(target.collection)
    return _described(collection, await collection.describe())


async def create_collection(target: Target, body: CreateCollection) -> object:
    """Create the collection."""
    await target.store.create(target.collection, body)
    return True


async def update_collection(target: Target, body: UpdateCollection) -> object:
    """Change the collection's settings."""
    collection = target.store.get(target.collection)
    async with collection.writing():
        await collection.record.stop()
        await collection.reconfigure(updated(collection.manifest.settings, body))
    return True


async def delete_collection(target: Target) -> object:
    """Delete the collection; false when there is none."""
    return await target.store.delete(target.collection)


async def optimize(target: Target) -> object:
    """Run the optimiser on the collection now, or join the run there is, and say how it ended.

    With `wait=false` the answer is null and the run goes on.
    """
    collection = target.store.get(target.collection)
    run = target.store.optimiser.start(collection)
    return await target.store.optimiser.ended(run) if target.wait else None


def _described(collection: Collection, info: ShardInfo) -> dict[str, object]:
    """Return what Qdrant tells of a collection."""
    settings = collection.manifest.settings
    hnsw = settings.hnsw_config or HnswConfig()
    optimizers = settings.optimizers_config or OptimizersConfig()
    return {
        "status": "yellow" if collection.record.running else "green",
        "optimizer_status": "ok",
        "points_count": info.points_count,
        "indexed_vectors_count": info.indexed_vectors_count,
        "segments_count": info.segments_count,
        "created_at": collection.manifest.created_at,
        "config": {
            "params": {
                "vectors": settings.vectors or {},
                "sparse_vectors": settings.sparse_vectors,
                "shard_number": 1,
                "replication_factor": 1,
                "write_consistency_factor": 1,
                "on_disk_payload": settings.on_disk_payload is not False,
            },
            "hnsw_config": {
                "m": 16 if hnsw.m is None else hnsw.m,
                "ef_construct": hnsw.ef_construct or 100,
                "full_scan_threshold": 10_000
                if hnsw.full_scan_threshold is None
                else hnsw.full_scan_threshold,
                "max_indexing_threads": hnsw.max_indexing_threads or 0,
                "on_disk": hnsw.on_disk,
                "payload_m": hnsw.payload_m,
            },
            "optimizer_config": {
                "deleted_threshold": optimizers.deleted_threshold or 0.2,
                "vacuum_min_vector_number": optimizers.vacuum_min_vector_number or 1000,
                "default_segment_number": optimizers.default_segment_number or 0,
                "max_segment_size": optimizers.max_segment_size,
                "indexing_threshold": optimizers.indexing_threshold,
                "flush_interval_sec": 5,
            },
            "quantization_config": settings.quantization_config,
            "metadata": settings.metadata,
        },
        "payload_schema": info.payload_schema,
    }
