"""Bodies of the requests that change points."""

from typing import Literal

from quarry_local.vector_engine.wire.base import NamedVectors, PointId, Wire
from quarry_local.vector_engine.wire.filters import Filter

Payload = dict[str, object]


class Point(Wire, frozen=True):
    """A point to insert or replace."""

    id: PointId
    vector: list[float] | NamedVectors
    payload: Payload | None = None


class PointBatch(Wire, frozen=True):
    """Points as columns."""

    ids: list[PointId]
    vectors: list[list[float]] | dict[str, list[object]]
    payloads: list[Payload | None] | None = None


class Upsert(Wire, frozen=True):
    """Points to insert or replace: `points`, or the same as columns in `batch`."""

    points: list[Point] | None = None
    batch: PointBatch | None = None
    update_filter: Filter | None = None
    update_mode: Literal["upsert", "insert_only", "update_only"] | None = None


class Selector(Wire, frozen=True):
    """Which points: ids or a filter."""

    points: list[PointId] | None = None
    filter: Filter | None = None


class SetPayload(Wire, frozen=True):
    """Payload to merge into points, or to put in place of what they have."""

    payload: Payload
    points: list[PointId] | None = None
    filter: Filter | None = None
    key: str | None = None


class DeletePayload(Wire, frozen=True):
    """Payload keys to remove from points."""

    keys: list[str]
    points: list[PointId] | None = None
    filter: Filter | None = None


class PointVectors(Wire, frozen=True):
    """New vectors of an existing point."""

    id: PointId
    vector: list[float] | NamedVectors


class UpdateVectors(Wire, frozen=True):
    """Vectors to replace, leaving payloads and other vectors."""

    points: list[PointVectors]
    update_filter: Filter | None = None


class DeleteVectors(Wire, frozen=True):
    """Names of vectors to remove from points."""

    vector: list[str]
    points: list[PointId] | None = None
    filter: Filter | None = None


class Operation(Wire, frozen=True):
    """One step of a batch update: exactly one field is set."""

    upsert: Upsert | None = None
    delete: Selector | None = None
    set_payload: SetPayload | None = None
    overwrite_payload: SetPayload | None = None
    delete_payload: DeletePayload | None = None
    clear_payload: Selector | None = None
    update_vectors: UpdateVectors | None = None
    delete_vectors: DeleteVectors | None = None


class Batch(Wire, frozen=True):
    """Steps applied in order; searches may see between them."""

    operations: list[Operation]
