"""From what the engine library returns to Qdrant's JSON."""

from __future__ import annotations

import qdrant_edge as edge

from quarry_local.vector_engine.collection import Collection
from quarry_local.vector_engine.schemas import index_of
from quarry_local.vector_engine.wire.collections import HnswConfig, OptimizersConfig


def scored_points(points: list[edge.ScoredPoint], *, bare: bool) -> list[dict[str, object]]:
    """Return the points of a query's answer; `bare` ones have neither payload nor vector."""
    answers: list[dict[str, object]] = [
        {"id": point.id, "version": point.version, "score": point.score} for point in points
    ]
    if bare:
        return answers
    return [_completed(answer, point) for answer, point in zip(answers, points, strict=True)]


def record(point: edge.Record) -> dict[str, object]:
    """Return a point that was retrieved or scrolled to."""
    return _completed({"id": point.id}, point)


def _completed(answer: dict[str, object], point: edge.ScoredPoint | edge.Record) -> dict[str, object]:
    payload = point.payload
    if payload is not None:
        answer["payload"] = payload
    vector = point.vector
    if vector is not None:
        answer["vector"] = _vectors(vector)
    order_value = point.order_value
    if order_value is not None:
        answer["order_value"] = order_value
    return answer


def _vectors(vector: edge.Vector) -> object:
    if not isinstance(vector, dict):
        return vector
    return {
        name: {"indices": value.indices, "values": value.values}
        if isinstance(value, edge.SparseVector)
        else value
        for name, value in vector.items()
    }


def collection_info(collection: Collection) -> dict[str, object]:
    """Return what Qdrant tells of a collection."""
    info = collection.shard.info()
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
        "payload_schema": {
            name: {
                "data_type": (params := index_of(index)).type,
                "params": params if index.params else None,
                "points": index.points,
            }
            for name, index in info.payload_schema.items()
        },
    }
