"""Collections and searches."""

from collections.abc import Mapping, Sequence
from typing import Final, Unpack
from urllib.parse import quote
from uuid import UUID

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, get, post, without_none

_WAIT_SECONDS: Final = 10.0
"""How long a search waits for jobs when it does not say."""
_BATCH_SECONDS: Final = 30.0
"""How much longer a batch may take than one search."""


def create_collection(
    name: str, *, settings: types.SettingsChanges | None = None, idempotency_key: str | None = None
) -> Call[types.Collection]:
    """Create a collection; what `settings` leave out, or give as None, is as the platform does it."""
    body = {"name": name, "settings": without_none(settings) if settings else None}
    return post("/api/collections", body, types.Collection, idempotency_key=idempotency_key)


def list_collections(*, limit: int = 50, cursor: str | None = None) -> Call[types.CollectionPage]:
    """List collections by name."""
    return get("/api/collections", types.CollectionPage, limit=limit, cursor=cursor)


def get_collection(name: str) -> Call[types.Collection]:
    """Read a collection with its counts."""
    return get(f"/api/collections/{quote(name, safe='')}", types.Collection)


def update_collection(name: str, **changes: Unpack[types.SettingsChanges]) -> Call[types.Collection]:
    """Change settings of a collection; what is left out stays. Searches follow at once.

    Sizes of chunks and the weight of titles are followed by what is indexed from then on; `reindex` brings
    the other documents up to date.
    """
    body = msgspec.json.encode({"settings": changes})
    path = f"/api/collections/{quote(name, safe='')}"
    return Call("PATCH", path, types.Collection, body=body, repeatable=True)


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
    wait_seconds: float = _WAIT_SECONDS,
    user_id: str | None = None,
    client_id: str | None = None,
) -> Call[types.Answer]:
    """Find passages, best first; at most 100 at once.

    `user_id` and `client_id` tell analytics who searches, as you name them. `facets` names fields whose
    values are counted. With `wait_for` the search waits, up to `wait_seconds`, until those jobs have
    succeeded.
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
        "user_id": user_id,
        "client_id": client_id,
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
        "POST",
        "/api/search/batch",
        types.SearchBatch,
        body=encoded,
        repeatable=True,
        extra_seconds=_BATCH_SECONDS + _longest_wait(queries),
    )


def _longest_wait(queries: Sequence[Mapping[str, object]]) -> float:
    """Return how long a batch may wait for jobs: the longest time that any search names, if one waits."""
    if not any(query.get("wait_for") for query in queries):
        return 0.0
    waits = [query.get("wait_seconds", _WAIT_SECONDS) for query in queries]
    return max((seconds for seconds in waits if isinstance(seconds, (int, float))), default=0.0)
