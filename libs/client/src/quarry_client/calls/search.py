"""Collections and searches."""

from urllib.parse import quote

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, get, post, without_none


def create_collection(name: str, *, idempotency_key: str | None = None) -> Call[types.Collection]:
    """Create a collection."""
    return post("/api/collections", {"name": name}, types.Collection, idempotency_key=idempotency_key)


def list_collections(*, limit: int = 50, cursor: str | None = None) -> Call[types.CollectionPage]:
    """List collections by name."""
    return get("/api/collections", types.CollectionPage, limit=limit, cursor=cursor)


def get_collection(name: str) -> Call[types.Collection]:
    """Read a collection with its counts."""
    return get(f"/api/collections/{quote(name, safe='')}", types.Collection)


def delete_collection(name: str) -> Call[None]:
    """Delete a collection and all that is in it."""
    return Call("DELETE", f"/api/collections/{quote(name, safe='')}", type(None), repeatable=True)


def search(
    query: str,
    *,
    mode: types.Mode = "hybrid",
    limit: int = 10,
    cursor: str | None = None,
    filters: types.Filter | None = None,
    group_by_document: bool = False,
    highlight: bool = False,
) -> Call[types.Answer]:
    """Find passages, best first; at most 100 at once."""
    body = {
        "query": query,
        "mode": mode,
        "limit": limit,
        "cursor": cursor,
        "filters": filters,
        "group_by_document": group_by_document,
        "highlight": highlight,
    }
    # A search is a POST only for its length: it changes nothing.
    encoded = msgspec.json.encode(without_none(body))
    return Call("POST", "/api/search", types.Answer, body=encoded, repeatable=True)
