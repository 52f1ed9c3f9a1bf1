"""From what the engine library returns to Qdrant's JSON."""

from __future__ import annotations

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine.shards.schemas import index_of
from quarry_local.vector_engine.wire.shards import ShardInfo


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


def shard_info(info: edge.ShardInfo) -> ShardInfo:
    """Return what is told of a shard."""
    schema = {
        name: {
            "data_type": (params := index_of(index)).type,
            "params": params if index.params else None,
            "points": index.points,
        }
        for name, index in info.payload_schema.items()
    }
    return ShardInfo(
        info.points_count,
        info.indexed_vectors_count,
        info.segments_count,
        msgspec.Raw(msgspec.json.encode(schema)),
    )
