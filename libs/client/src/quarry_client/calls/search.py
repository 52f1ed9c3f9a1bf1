"""Collections and searches."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote
from uuid import UUID

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
    facets: Sequence[str] = (),
    sort: types.SearchSort | None = None,
    min_score: float | None = None,
    explain: bool = False,
    rerank: bool | None = None,
    wait_for: Sequence[UUID] = (),
    wait_seconds: float = 10.0,
) -> Call[types.Answer]:
    """Find passages, best first; at most 100 at once.

    `facets` names fields whose values are counted. With `wait_for` the search waits, up to `wait_seconds`,
    until those jobs have succeeded.
    """
    body = {
        "query": query,
        "mode": mode,
        "limit": limit,
        "cursor": cursor,
        "filters": filters,
        "group_by_document": group_by_document,
        "highlight": highlight,
        "facets": list(facets) or None,
        "sort": sort,
        "min_score": min_score,
        "explain": explain or None,
        "rerank": rerank,
        "wait_for": list(wait_for) or None,
        "wait_seconds": wait_seconds if wait_for else None,
    }
    # A search is a POST only for its length: it changes nothing.
    encoded = msgspec.json.encode(without_none(body))
    extra_seconds = wait_seconds if wait_for else 0.0
    return Call(
        "POST", "/api/search", types.Answer, body=encoded, repeatable=True, extra_seconds=extra_seconds
    )


def search_batch(queries: Sequence[Mapping[str, object]]) -> Call[types.SearchBatch]:
    """Search for several things at once, up to fifty; each as the API's reference describes a search."""
    encoded = msgspec.json.encode({"queries": list(queries)})
    return Call(
        "POST", "/api/search/batch", types.SearchBatch, body=encoded, repeatable=True, extra_seconds=30.0
    )
