"""Which operation a method and path lead to, and what its body and query string may hold."""

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qsl

import msgspec

from quarry_local.vector_engine import operations
from quarry_local.vector_engine.errors import FormatError, NotFoundError
from quarry_local.vector_engine.operations import Target
from quarry_local.vector_engine.store import Store
from quarry_local.vector_engine.wire import collections, points, queries
from quarry_local.vector_engine.wire.base import Wire


class Route(msgspec.Struct, frozen=True):
    """An operation, its name in the metrics, and how its body is read (None: it has no body)."""

    name: str
    answer: Callable[..., Awaitable[object]]
    body: msgspec.json.Decoder[object] | None = None


def _route(name: str, answer: Callable[..., Awaitable[object]], body: type | None = None) -> Route:
    return Route(name, answer, msgspec.json.Decoder(body) if body is not None else None)


def _update(kind: str, body: type) -> Route:
    async def answer(target: Target, decoded: Wire) -> object:
        return await operations.update_points(target, kind, decoded)

    return _route(kind, answer, body)


LIST = _route("list_collections", operations.list_collections)

COLLECTION: dict[tuple[str, str], Route] = {
    ("GET", ""): _route("get_collection", operations.get_collection),
    ("PUT", ""): _route("create_collection", operations.create_collection, collections.CreateCollection),
    ("PATCH", ""): _route("update_collection", operations.update_collection, collections.UpdateCollection),
    ("DELETE", ""): _route("delete_collection", operations.delete_collection),
    ("GET", "exists"): _route("collection_exists", operations.collection_exists),
    ("POST", "optimize"): _route("optimize", operations.optimize),
    ("PUT", "index"): _route("create_index", operations.create_index, collections.CreateIndex),
    ("PUT", "points"): _update("upsert", points.Upsert),
    ("POST", "points"): _route("retrieve", operations.retrieve, queries.Retrieve),
    ("POST", "points/delete"): _update("delete", points.Selector),
    ("POST", "points/payload"): _update("set_payload", points.SetPayload),
    ("PUT", "points/payload"): _update("overwrite_payload", points.SetPayload),
    ("POST", "points/payload/delete"): _update("delete_payload", points.DeletePayload),
    ("POST", "points/payload/clear"): _update("clear_payload", points.Selector),
    ("PUT", "points/vectors"): _update("update_vectors", points.UpdateVectors),
    ("POST", "points/vectors/delete"): _update("delete_vectors", points.DeleteVectors),
    ("POST", "points/batch"): _route("batch_update", operations.batch_update, points.Batch),
    ("POST", "points/query"): _route("query", operations.query, queries.Query),
    ("POST", "points/query/batch"): _route("query_batch", operations.query_batch, queries.QueryBatch),
    ("POST", "points/scroll"): _route("scroll", operations.scroll, queries.Scroll),
    ("POST", "points/count"): _route("count", operations.count, queries.Count),
    ("POST", "facet"): _route("facet", operations.facet, queries.Facet),
}

ITEM: dict[tuple[str, str], Route] = {
    ("DELETE", "index"): _route("delete_index", operations.delete_index),
    ("GET", "points"): _route("get_point", operations.get_point),
}

_BOOLEANS = {"true": True, "false": False}


def find(store: Store, method: str, path: str, query_string: str) -> tuple[Route, Target]:
    """Return the operation and its target; raises `NotFoundError` and `FormatError`.

    `path` is decoded already: a collection's name cannot hold a slash, a payload key can.
    """
    wait = _wait(query_string) if query_string else True
    parts = path.split("/", 3)
    if len(parts) < 2 or parts[1] != "collections":
        raise _no_route(method, path)
    if len(parts) == 2:
        if method != "GET":
            raise _no_route(method, path)
        return LIST, Target(store, "")
    name = parts[2]
    rest = parts[3] if len(parts) == 4 else ""
    route = COLLECTION.get((method, rest))
    if route is not None:
        return route, Target(store, name, wait=wait)
    head, _, item = rest.partition("/")
    route = ITEM.get((method, head)) if item else None
    if route is None:
        raise _no_route(method, path)
    return route, Target(store, name, item, wait)


def bound(route: Route, target: Target, body: bytes) -> Callable[[], Awaitable[object]]:
    """Return the operation with its body decoded; raises `FormatError`."""
    if route.body is None:
        return partial(route.answer, target)
    try:
        decoded = route.body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"JSON body: {error}") from None
    except RecursionError:
        raise FormatError("JSON body: nested too deeply") from None
    return partial(route.answer, msgspec.structs.replace(target, body_bytes=len(body)), decoded)


def _wait(query_string: str) -> bool:
    """Return `wait`. The other parameters that Qdrant's clients send mean nothing on a single node."""
    wait = True
    for name, value in parse_qsl(query_string, keep_blank_values=True):
        if name == "wait" and value in _BOOLEANS:
            wait = _BOOLEANS[value]
        elif not (
            (name == "ordering" and value in {"weak", "medium", "strong"})
            or (name == "timeout" and value.isdecimal())
            or (name == "consistency" and (value.isdecimal() or value in {"majority", "quorum", "all"}))
        ):
            raise FormatError(f"query parameters: `{name}={value}` is not understood")
    return wait


def _no_route(method: str, path: str) -> NotFoundError:
    return NotFoundError(f"the embedded vector engine has no operation {method} {path[:200]}")
