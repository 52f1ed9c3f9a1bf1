"""From Qdrant's update bodies to a plan: the engine operations to apply, in order, each small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine.errors import WrongInputError
from quarry_local.vector_engine.shards.edge import call
from quarry_local.vector_engine.shards.filters import edge_filter, point_id
from quarry_local.vector_engine.shards.vectors import VectorSchema
from quarry_local.vector_engine.wire.base import PointId, Wire
from quarry_local.vector_engine.wire.filters import Filter
from quarry_local.vector_engine.wire.points import (
    Batch,
    DeletePayload,
    DeleteVectors,
    Operation,
    Point,
    PointBatch,
    PointVectors,
    Selector,
    SetPayload,
    UpdateVectors,
    Upsert,
)

ItemT = TypeVar("ItemT")

PIECE = 500
"""Points per engine operation: the engine stops the whole process for as long as one takes."""

UPDATE_MODES = {
    "upsert": edge.UpdateMode.Upsert,
    "insert_only": edge.UpdateMode.InsertOnly,
    "update_only": edge.UpdateMode.UpdateOnly,
}


class Change(msgspec.Struct, frozen=True):
    """One engine operation, and how many points it changes (deleted ones among them) and deletes at most."""

    operation: edge.UpdateOperation
    points: int = 0
    deleted: int = 0


class ByFilter(msgspec.Struct, frozen=True):
    """An operation on the points that match a filter when it is applied.

    `whole` takes their number, `by_ids` a piece of them.
    """

    filter: edge.Filter
    whole: Callable[[int], Change]
    by_ids: Callable[[list[edge.PointId]], Change]


Step: TypeAlias = Change | ByFilter


def plan(body: Wire, kind: str, schema: VectorSchema) -> list[Step]:
    """Return the steps of an update of the given kind (a field of `wire.points.Operation`, or `batch`).

    Nothing is applied yet, so a body that is wrong anywhere changes nothing. Raises `WrongInputError`.
    """
    if isinstance(body, Batch):
        return [step for operation in body.operations for step in _operation(operation, schema)]
    return _PLANNERS[kind](body, schema)


def _operation(source: Operation, schema: VectorSchema) -> list[Step]:
    kinds = [name for name in source.__struct_fields__ if getattr(source, name) is not None]
    if len(kinds) != 1:
        raise WrongInputError(f"each operation of a batch needs exactly one of {', '.join(_PLANNERS)}")
    return plan(getattr(source, kinds[0]), kinds[0], schema)


def _upsert(source: Upsert, schema: VectorSchema) -> list[Step]:
    if (source.points is None) == (source.batch is None):
        raise WrongInputError("an upsert needs exactly one of `points` and `batch`")
    points = source.points if source.points is not None else _rows(source.batch)
    condition = edge_filter(source.update_filter)
    mode = UPDATE_MODES[source.update_mode] if source.update_mode else None
    built = [call(edge.Point, point_id(item.id), schema.stored(item.vector), item.payload) for item in points]
    return [
        Change(edge.UpdateOperation.upsert_points(piece, condition, mode), len(piece))
        for piece in _pieces(built)
    ]


def _rows(source: PointBatch | None) -> list[Point]:
    if source is None:
        return []
    count = len(source.ids)
    payloads = source.payloads if source.payloads is not None else [None] * count
    if isinstance(source.vectors, dict):
        columns = source.vectors
        if any(len(column) != count for column in columns.values()):
            raise WrongInputError("every column of a batch must be as long as `ids`")
        vectors: list[object] = [
            {name: column[row] for name, column in columns.items()} for row in range(count)
        ]
    else:
        vectors = list(source.vectors)
    if len(vectors) != count or len(payloads) != count:
        raise WrongInputError("every column of a batch must be as long as `ids`")
    rows = [
        {"id": item, "vector": vector, "payload": payload}
        for item, vector, payload in zip(source.ids, vectors, payloads, strict=True)
    ]
    try:
        return msgspec.convert(rows, list[Point])
    except msgspec.ValidationError as error:
        raise WrongInputError(f"the columns of the batch do not make points: {error}") from None


def _delete(source: Selector, _schema: VectorSchema) -> list[Step]:
    return _select(
        source.points,
        source.filter,
        edge.UpdateOperation.delete_points,
        edge.UpdateOperation.delete_points_by_filter,
        deletes=True,
    )


def _clear_payload(source: Selector, _schema: VectorSchema) -> list[Step]:
    return _select(
        source.points,
        source.filter,
        edge.UpdateOperation.clear_payload,
        edge.UpdateOperation.clear_payload_by_filter,
    )


def _set_payload(source: SetPayload, _schema: VectorSchema) -> list[Step]:
    return _select(
        source.points,
        source.filter,
        lambda ids: edge.UpdateOperation.set_payload(ids, source.payload, source.key),
        lambda found: edge.UpdateOperation.set_payload_by_filter(found, source.payload, source.key),
    )


def _overwrite_payload(source: SetPayload, _schema: VectorSchema) -> list[Step]:
    if source.key is not None:
        raise WrongInputError("`key` is not supported when a payload is overwritten")
    return _select(
        source.points,
        source.filter,
        lambda ids: edge.UpdateOperation.overwrite_payload(ids, source.payload),
        lambda found: edge.UpdateOperation.overwrite_payload_by_filter(found, source.payload),
    )


def _delete_payload(source: DeletePayload, _schema: VectorSchema) -> list[Step]:
    return _select(
        source.points,
        source.filter,
        lambda ids: edge.UpdateOperation.delete_payload(ids, source.keys),
        lambda found: edge.UpdateOperation.delete_payload_by_filter(found, source.keys),
    )


def _update_vectors(source: UpdateVectors, schema: VectorSchema) -> list[Step]:
    condition = edge_filter(source.update_filter)
    built = [_point_vectors(item, schema) for item in source.points]
    return [
        Change(edge.UpdateOperation.update_vectors(piece, condition), len(piece)) for piece in _pieces(built)
    ]


def _point_vectors(source: PointVectors, schema: VectorSchema) -> edge.PointVectors:
    return call(edge.PointVectors, point_id(source.id), schema.stored(source.vector))


def _delete_vectors(source: DeleteVectors, schema: VectorSchema) -> list[Step]:
    for name in source.vector:
        if name not in schema.dense and name not in schema.sparse:
            raise WrongInputError(f"Not existing vector name error: {name}")
    return _select(
        source.points,
        source.filter,
        lambda ids: edge.UpdateOperation.delete_vectors(ids, source.vector),
        lambda found: edge.UpdateOperation.delete_vectors_by_filter(found, source.vector),
    )


def _select(
    points: Sequence[PointId] | None,
    source: Filter | None,
    by_ids: Callable[[list[edge.PointId]], edge.UpdateOperation],
    by_filter: Callable[[edge.Filter], edge.UpdateOperation],
    *,
    deletes: bool = False,
) -> list[Step]:
    if (points is None) == (source is None):
        raise WrongInputError("exactly one of `points` and `filter` must say which points are meant")

    def change(operation: edge.UpdateOperation, count: int) -> Change:
        return Change(operation, count, count if deletes else 0)

    def change_ids(piece: list[edge.PointId]) -> Change:
        return change(call(by_ids, piece), len(piece))

    found = edge_filter(source)
    if found is not None:
        whole = call(by_filter, found)
        return [ByFilter(found, lambda count: change(whole, count), change_ids)]
    ids: list[edge.PointId] = [point_id(item) for item in points or ()]
    return [change_ids(piece) for piece in _pieces(ids)]


def _pieces(items: list[ItemT]) -> list[list[ItemT]]:
    return [items[start : start + PIECE] for start in range(0, len(items), PIECE)]


_PLANNERS: dict[str, Callable[..., list[Step]]] = {
    "upsert": _upsert,
    "delete": _delete,
    "set_payload": _set_payload,
    "overwrite_payload": _overwrite_payload,
    "delete_payload": _delete_payload,
    "clear_payload": _clear_payload,
    "update_vectors": _update_vectors,
    "delete_vectors": _delete_vectors,
}
