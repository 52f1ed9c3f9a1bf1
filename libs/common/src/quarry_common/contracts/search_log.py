"""What is written down of a search, in the stream SEARCHES: subject `log.v1.<tenant>.search.performed`."""

from uuid import UUID

import msgspec

from quarry_common.contracts.search import CacheUse, SearchMode


class PerformedSearch(msgspec.Struct, frozen=True):
    """A search that was answered, as the log has it. `collections` is empty for all of the tenant's."""

    query_id: UUID
    query: str
    mode: SearchMode
    collections: list[str]
    results: int
    """Passages on the page that was answered."""
    total: int
    """Passages within reach of the cursor."""
    top_score: float | None
    """Of the best passage; null when nothing was found."""
    duration_ms: float
    cache: CacheUse
    user: str | None
    """Who searched, as the caller named the person; null when nobody was named."""
    key_id: UUID
    trace_id: str
