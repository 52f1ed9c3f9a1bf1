"""What a shard does when it is asked: one function per operation, decoded body in, result out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine.errors import NotFoundError, WrongInputError
from quarry_local.vector_engine.shards import answers, queries
from quarry_local.vector_engine.shards.edge import call
from quarry_local.vector_engine.shards.filters import edge_filter, point_id
from quarry_local.vector_engine.shards.frames import Changes, Question
from quarry_local.vector_engine.shards.schemas import edge_index
from quarry_local.vector_engine.shards.shard import Shard
from quarry_local.vector_engine.shards.updates import Change, Step, plan
from quarry_local.vector_engine.wire.base import Wire
from quarry_local.vector_engine.wire.collections import CreateCollection, CreateIndex
from quarry_local.vector_engine.wire.points import (
    Batch,
    DeletePayload,
    DeleteVectors,
    Selector,
    SetPayload,
    UpdateVectors,
    Upsert,
)
from quarry_local.vector_engine.wire.queries import (
    Count,
    Facet,
    Query,
    QueryBatch,
    Retrieve,
    Scroll,
)
from quarry_local.vector_engine.wire.shards import ShardInfo

PAGE = 500
"""Points read in one engine call when whole points are asked for."""

QUERIES_TOGETHER = 4
MAX_QUERIES = 256


class Target(msgspec.Struct, frozen=True):
    """The shard, and what is asked of it."""

    shard: Shard
    question: Question
    changes: Changes
    """Counts what the operation changes."""


async def fold(target: Target) -> object:
    """Fold the log into the segments; return the number of the last operation."""
    target.shard.fold()
    return target.shard.operations


async def describe(target: Target) -> ShardInfo:
    """Describe the shard."""
    return answers.shard_info(target.shard.library.info())


async def reconfigure(target: Target, body: CreateCollection) -> object:
    """Reopen the shard with other settings."""
    target.shard.reconfigure(body)
    return True


async def close(target: Target) -> object:
    """Fold the log and release the files; nothing can be asked afterwards."""
    target.shard.close()
    return True


async def create_index(target: Target, body: CreateIndex) -> object:
    """Create a payload index."""
    schema = edge_index(body.field_schema)
    operation = call(edge.UpdateOperation.create_field_index, body.field_name, schema)
    return await _updated(target, [Change(operation)])


async def delete_index(target: Target) -> object:
    """Delete a payload index."""
    return await _updated(
        target, [Change(call(edge.UpdateOperation.delete_field_index, target.question.item))]
    )


async def _update_points(kind: str, target: Target, body: Wire) -> object:
    """Change points: `kind` names the field of a batch operation that the body would stand in."""
    return await _updated(target, plan(body, kind, target.shard.vectors))


async def batch_update(target: Target, body: Batch) -> object:
    """Apply operations in order."""
    result = await _updated(target, plan(body, "batch", target.shard.vectors))
    return [result] * len(body.operations)


async def _updated(target: Target, steps: list[Step]) -> object:
    question = target.question
    number = await target.shard.apply(steps, target.changes, may_fold=question.fold)
    return {"operation_id": number, "status": "completed" if question.wait else "acknowledged"}


async def query(target: Target, body: Query) -> object:
    """Answer one query."""
    request = queries.query_request(body, target.shard.vectors)
    points = call(target.shard.library.query, request)
    return {"points": answers.scored_points(points, bare=queries.is_bare(body))}


async def query_batch(target: Target, body: QueryBatch) -> object:
    """Answer queries in their order, a few in each engine call."""
    if len(body.searches) > MAX_QUERIES:
        raise WrongInputError(f"a batch may hold at most {MAX_QUERIES} queries")
    requests = [queries.query_request(item, target.shard.vectors) for item in body.searches]
    results: list[object] = []
    for start in range(0, len(requests), QUERIES_TOGETHER):
        if start:
            await asyncio.sleep(0)
        part = slice(start, start + QUERIES_TOGETHER)
        found = call(target.shard.library.query_batch, edge.QueryBatchRequest(requests[part]))
        for points, item in zip(found, body.searches[part], strict=True):
            results.append({"points": answers.scored_points(points, bare=queries.is_bare(item))})
    return results


async def retrieve(target: Target, body: Retrieve) -> object:
    """Return the points that exist of those asked for."""
    payload = queries.with_payload(body.with_payload, True)
    vector = queries.with_vector(body.with_vector)
    ids: list[edge.PointId] = [point_id(item) for item in body.ids]
    found: list[object] = []
    for start in range(0, len(ids), PAGE):
        if start:
            await asyncio.sleep(0)
        records = call(target.shard.library.retrieve, ids[start : start + PAGE], payload, vector)
        found.extend(answers.record(item) for item in records)
    return found


async def get_point(target: Target) -> object:
    """Return one point with payload and vectors."""
    key = point_id(int(target.question.item)) if target.question.item.isdecimal() else target.question.item
    records = call(target.shard.library.retrieve, [key], True, True)
    if not records:
        raise NotFoundError(f"Point with id {target.question.item} does not exists!")
    return answers.record(records[0])


async def scroll(target: Target, body: Scroll) -> object:
    """Return a page of points and the id at which the next page starts."""
    limit = queries.page_limit(body.limit)
    offset: edge.PointId | None = None if body.offset is None else point_id(body.offset)
    found: list[object] = []
    while True:
        size = limit if body.order_by is not None else min(PAGE, limit - len(found))
        request = call(queries.scroll_request, body, size, offset)
        records, offset = call(target.shard.library.scroll, request)
        found.extend(answers.record(item) for item in records)
        if offset is None or len(found) >= limit:
            return {"points": found, "next_page_offset": offset}
        await asyncio.sleep(0)


async def count(target: Target, body: Count) -> object:
    """Count the points that match; exactly, unless an estimate is asked for."""
    exact = body.exact is not False
    return {"count": call(target.shard.library.count, edge.CountRequest(exact, edge_filter(body.filter)))}


async def facet(target: Target, body: Facet) -> object:
    """Count points per value of a payload field."""
    response = call(target.shard.library.facet, queries.facet_request(body))
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in response.hits]}


class Operation(msgspec.Struct, frozen=True):
    """A function of this module, and how its body is read (None: it has none)."""

    answer: Callable[..., Awaitable[object]]
    body: msgspec.json.Decoder[object] | None = None


def _with(body: type, answer: Callable[..., Awaitable[object]]) -> Operation:
    return Operation(answer, msgspec.json.Decoder(body))


def _update(kind: str, body: type) -> Operation:
    return _with(body, partial(_update_points, kind))


OPERATIONS: dict[str, Operation] = {
    "fold": Operation(fold),
    "describe": Operation(describe),
    "reconfigure": _with(CreateCollection, reconfigure),
    "close": Operation(close),
    "create_index": _with(CreateIndex, create_index),
    "delete_index": Operation(delete_index),
    "upsert": _update("upsert", Upsert),
    "delete": _update("delete", Selector),
    "set_payload": _update("set_payload", SetPayload),
    "overwrite_payload": _update("overwrite_payload", SetPayload),
    "delete_payload": _update("delete_payload", DeletePayload),
    "clear_payload": _update("clear_payload", Selector),
    "update_vectors": _update("update_vectors", UpdateVectors),
    "delete_vectors": _update("delete_vectors", DeleteVectors),
    "batch_update": _with(Batch, batch_update),
    "query": _with(Query, query),
    "query_batch": _with(QueryBatch, query_batch),
    "retrieve": _with(Retrieve, retrieve),
    "get_point": Operation(get_point),
    "scroll": _with(Scroll, scroll),
    "count": _with(Count, count),
    "facet": _with(Facet, facet),
}
