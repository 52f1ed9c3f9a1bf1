"""Which operation a method and path lead to: one on collections, or one that a shard does."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

import msgspec

from quarry_local.vector_engine import operations
from quarry_local.vector_engine.errors import FormatError, NotFoundError
from quarry_local.vector_engine.operations import Target
from quarry_local.vector_engine.shards.frames import Question
from quarry_local.vector_engine.store import Store
from quarry_local.vector_engine.wire.base import decoded
from quarry_local.vector_engine.wire.collections import CreateCollection, UpdateCollection


class Route(msgspec.Struct, frozen=True):
    """An operation and its name in the metrics."""

    name: str
    answer: Callable[[Target, bytes], Awaitable[object]]
    """Takes the body as it came."""
    has_body: bool = True


def _here(name: str, operation: Callable[..., Awaitable[object]], body: type | None = None) -> Route:
    if body is None:
        return Route(name, lambda target, _: operation(target), has_body=False)
    decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(body)

    async def answer(target: Target, raw: bytes) -> object:
        return await operation(target, decoded(decoder, raw))

    return Route(name, answer)


def _read(name: str, *, has_body: bool = True) -> Route:
    async def answer(target: Target, body: bytes) -> object:
        collection = target.store.get(target.collection)
        return (await collection.read(Question(name, body, target.item))).result()

    return Route(name, answer, has_body)


def _write(name: str, *, has_body: bool = True) -> Route:
    async def answer(target: Target, body: bytes) -> object:
        collection = target.store.get(target.collection)
        return (await collection.write(Question(name, body, target.item, target.wait))).result()

    return Route(name, answer, has_body)


LIST = _here("list_collections", operations.list_collections)

COLLECTION: dict[tuple[str, str], Route] = {
    ("GET", ""): _here("get_collection", operations.get_collection),
    ("PUT", ""): _here("create_collection", operations.create_collection, CreateCollection),
    ("PATCH", ""): _here("update_collection", operations.update_collection, UpdateCollection),
    ("DELETE", ""): _here("delete_collection", operations.delete_collection),
    ("GET", "exists"): _here("collection_exists", operations.collection_exists),
    ("POST", "optimize"): _here("optimize", operations.optimize),
    ("PUT", "index"): _write("create_index"),
    ("PUT", "points"): _write("upsert"),
    ("POST", "points"): _read("retrieve"),
    ("POST", "points/delete"): _write("delete"),
    ("POST", "points/payload"): _write("set_payload"),
    ("PUT", "points/payload"): _write("overwrite_payload"),
    ("POST", "points/payload/delete"): _write("delete_payload"),
    ("POST", "points/payload/clear"): _write("clear_payload"),
    ("PUT", "points/vectors"): _write("update_vectors"),
    ("POST", "points/vectors/delete"): _write("delete_vectors"),
    ("POST", "points/batch"): _write("batch_update"),
    ("POST", "points/query"): _read("query"),
    ("POST", "points/query/batch"): _read("query_batch"),
    ("POST", "points/scroll"): _read("scroll"),
    ("POST", "points/count"): _read("count"),
    ("POST", "facet"): _read("facet"),
}

ITEM: dict[tuple[str, str], Route] = {
    ("DELETE", "index"): _write("delete_index", has_body=False),
    ("GET", "points"): _read("get_point", has_body=False),
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
