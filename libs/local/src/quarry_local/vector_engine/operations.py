"""One function per REST operation: decoded body in, result out. `routes` says which path leads where."""

from __future__ import annotations

import asyncio

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine import answers, queries
from quarry_local.vector_engine.edge import call
from quarry_local.vector_engine.errors import NotFoundError, WrongInputError
from quarry_local.vector_engine.filters import edge_filter, point_id
from quarry_local.vector_engine.schemas import edge_index, merged, merged_optimizers
from quarry_local.vector_engine.store import Store
from quarry_local.vector_engine.updates import Change, Step, plan
from quarry_local.vector_engine.wire.base import Wire
from quarry_local.vector_engine.wire.collections import CreateCollection, CreateIndex, UpdateCollection
from quarry_local.vector_engine.wire.points import Batch
from quarry_local.vector_engine.wire.queries import (
    Count,
    Facet,
    Query,
    QueryBatch,
    Retrieve,
    Scroll,
)

PAGE = 500
"""Points read in one engine call when whole points are asked for."""

QUERIES_TOGETHER = 4
MAX_QUERIES = 256


class Target(msgspec.Struct, frozen=True):
    """What a request's path and query string say."""

    store: Store
    collection: str
    item: str = ""
    wait: bool = True
    body_bytes: int = 0


async def list_collections(target: Target) -> object:
    """Name every collection."""
    return {"collections": [{"name": name} for name in sorted(target.store.collections)]}


async def collection_exists(target: Target) -> object:
    """Say whether the collection exists."""
    return {"exists": target.collection in target.store.collections}


async def get_collection(target: Target) -> object:
    """Describe the collection."""
    return answers.collection_info(target.store.get(target.collection))


async def create_collection(target: Target, body: CreateCollection) -> object:
    """Create the collection."""
    target.store.create(target.collection, body)
    return True


async def update_collection(target: Target, body: UpdateCollection) -> object:
    """Change the collection's settings."""
    collection = target.store.get(target.collection)
    async with collection.writing():
        await collection.record.stop()
        old = collection.manifest.settings
        metadata = {**(old.metadata or {}), **(body.metadata or {})}
        collection.reconfigure(
            msgspec.structs.replace(
                old,
                hnsw_config=merged(old.hnsw_config, body.hnsw_config),
                optimizers_config=merged_optimizers(old.optimizers_config, body.optimizers_config),
                metadata={key: value for key, value in metadata.items() if value is not None} or None,
            )
        )
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


async def create_index(target: Target, body: CreateIndex) -> object:
    """Create a payload index."""
    schema = edge_index(body.field_schema)
    operation = call(edge.UpdateOperation.create_field_index, body.field_name, schema)
    return await _updated(target, [Change(operation)])


async def delete_index(target: Target) -> object:
    """Delete a payload index."""
    return await _updated(target, [Change(call(edge.UpdateOperation.delete_field_index, target.item))])


async def update_points(target: Target, kind: str, body: Wire) -> object:
    """Change points: `kind` names the field of a batch operation that the body would stand in."""
    collection = target.store.get(target.collection)
    return await _updated(target, plan(body, kind, collection.vectors))


async def batch_update(target: Target, body: Batch) -> object:
    """Apply operations in order."""
    collection = target.store.get(target.collection)
    steps = plan(body, "batch", collection.vectors)
    result = await _updated(target, steps)
    return [result] * len(body.operations)


async def _updated(target: Target, steps: list[Step]) -> object:
    number = await target.store.get(target.collection).apply(steps, target.body_bytes)
    return {"operation_id": number, "status": "completed" if target.wait else "acknowledged"}


async def query(target: Target, body: Query) -> object:
    """Answer one query."""
    collection = target.store.get(target.collection)
    request = queries.query_request(body, collection.vectors)
    points = call(collection.shard.query, request)
    return {"points": answers.scored_points(points, bare=queries.is_bare(body))}


async def query_batch(target: Target, body: QueryBatch) -> object:
    """Answer queries in their order, a few in each engine call."""
    collection = target.store.get(target.collection)
    if len(body.searches) > MAX_QUERIES:
        raise WrongInputError(f"a batch may hold at most {MAX_QUERIES} queries")
    requests = [queries.query_request(item, collection.vectors) for item in body.searches]
    results: list[object] = []
    for start in range(0, len(requests), QUERIES_TOGETHER):
        if start:
            await asyncio.sleep(0)
        part = slice(start, start + QUERIES_TOGETHER)
        found = call(collection.shard.query_batch, edge.QueryBatchRequest(requests[part]))
        for points, item in zip(found, body.searches[part], strict=True):
            results.append({"points": answers.scored_points(points, bare=queries.is_bare(item))})
    return results


async def retrieve(target: Target, body: Retrieve) -> object:
    """Return the points that exist of those asked for."""
    collection = target.store.get(target.collection)
    payload = queries.with_payload(body.with_payload, True)
    vector = queries.with_vector(body.with_vector)
    ids: list[edge.PointId] = [point_id(item) for item in body.ids]
    found: list[object] = []
    for start in range(0, len(ids), PAGE):
        if start:
            await asyncio.sleep(0)
        records = call(collection.shard.retrieve, ids[start : start + PAGE], payload, vector)
        found.extend(answers.record(item) for item in records)
    return found


async def get_point(target: Target) -> object:
    """Return one point with payload and vectors."""
    collection = target.store.get(target.collection)
    key = point_id(int(target.item)) if target.item.isdecimal() else target.item
    records = call(collection.shard.retrieve, [key], True, True)
    if not records:
        raise NotFoundError(f"Point with id {target.item} does not exists!")
    return answers.record(records[0])


async def scroll(target: Target, body: Scroll) -> object:
    """Return a page of points and the id at which the next page starts."""
    collection = target.store.get(target.collection)
    limit = queries.page_limit(body.limit)
    offset: edge.PointId | None = None if body.offset is None else point_id(body.offset)
    found: list[object] = []
    while True:
        size = limit if body.order_by is not None else min(PAGE, limit - len(found))
        request = call(queries.scroll_request, body, size, offset)
        records, offset = call(collection.shard.scroll, request)
        found.extend(answers.record(item) for item in records)
        if offset is None or len(found) >= limit:
            return {"points": found, "next_page_offset": offset}
        await asyncio.sleep(0)


async def count(target: Target, body: Count) -> object:
    """Count the points that match; exactly, unless an estimate is asked for."""
    collection = target.store.get(target.collection)
    exact = body.exact is not False
    return {"count": call(collection.shard.count, edge.CountRequest(exact, edge_filter(body.filter)))}


async def facet(target: Target, body: Facet) -> object:
    """Count points per value of a payload field."""
    collection = target.store.get(target.collection)
    response = call(collection.shard.facet, queries.facet_request(body))
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in response.hits]}
