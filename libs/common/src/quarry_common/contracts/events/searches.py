"""The search log: what was searched and what came of it, on the stream SEARCHES.

Search instances send `Searched` as CloudEvents `search.performed`, several in one message (a CloudEvents
batch) on `log.v1.<tenant>.search`; gateways send what users did with the results on
`log.v1.<tenant>.interaction`.
Both are many and small, and kept apart from the events, so that they never evict those.
"""

from datetime import UTC, datetime
from typing import ClassVar, Final
from uuid import UUID

from quarry_common.contracts.events.base import EventData, Moment, Way
from quarry_common.contracts.search import CacheUse, SearchMode

MAX_QUERY_LENGTH = 1_000
_ONLY_LOGGED: Final = frozenset({Way.STREAM})


class Searched(EventData, frozen=True, kw_only=True):
    """A search was answered."""

    type: ClassVar[str] = "search.performed"
    ways: ClassVar[frozenset[Way]] = _ONLY_LOGGED
    query_id: UUID
    occurred_at: Moment
    """The time within the query's id."""
    query: str
    """As it was written, its first 1,000 characters."""
    mode: SearchMode
    collection: str | None
    """When the search was limited to one."""
    filtered: bool
    """Whether it was narrowed by a filter of any kind."""
    continued: bool
    """Whether it asked for a later page of a list: that is no search of its own."""
    total: int
    results: list[UUID]
    """Documents of the answer, best first, each once."""
    top_score: float | None
    similarity: float | None
    """Cosine of query and nearest passage."""
    duration_ms: float
    """In the search service."""
    cache: CacheUse
    key_id: UUID | None
    user_id: str | None
    client_id: str | None
    """The device or browser, as the application names it."""
    trace_id: str

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.query_id)


class SearchesUnrecorded(EventData, frozen=True, kw_only=True):
    """Searches were answered that the log does not hold: too many came, or it could not be written."""

    type: ClassVar[str] = "search.unrecorded"
    ways: ClassVar[frozenset[Way]] = _ONLY_LOGGED
    searches: int
    instance: str

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.instance


CLICK = "click"
"""The action that engagement is measured by. `impression`, `add_to_cart`, `purchase`, `feedback` (whose
value is -1 or
1) and others are kept as they come."""


class Interacted(EventData, frozen=True, kw_only=True):
    """A user did something with the answer to a search, told in the form of UBI 1.3."""

    type: ClassVar[str] = "search.interacted"
    ways: ClassVar[frozenset[Way]] = _ONLY_LOGGED
    event_id: UUID
    """Given by the sender, or made of all the rest: what comes twice counts once."""
    query_id: UUID
    occurred_at: Moment
    action: str
    """As UBI's `action_name`."""
    document_id: UUID | None
    value: float | None
    user_id: str | None
    client_id: str | None
    session_id: str | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.query_id)


_QUERY: Final = UUID("01931c2e-78a9-7f54-8c6d-4b0e2a1f9c68")
_DOCUMENT: Final = UUID("01931c2e-7b1a-7cc3-8a5e-0e3b1f6c2d10")
_AT: Final = datetime(2027, 1, 31, 9, 30, tzinfo=UTC)

EXAMPLES: Final = (
    Searched(
        query_id=_QUERY,
        occurred_at=_AT,
        query="how are travel expenses settled",
        mode=SearchMode.HYBRID,
        collection="handbook",
        filtered=False,
        continued=False,
        total=84,
        results=[_DOCUMENT],
        top_score=0.83,
        similarity=0.71,
        duration_ms=41.7,
        cache=CacheUse.MISS,
        key_id=UUID("01931c2e-72c4-7b8e-a6d1-3f5c9e0a7b21"),
        user_id="u-1842",
        client_id=None,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    ),
    SearchesUnrecorded(searches=12, instance="search-1"),
    Interacted(
        event_id=UUID("01931c2e-7d10-7b90-9e5f-0c4a3d2b1e86"),
        query_id=_QUERY,
        occurred_at=_AT,
        action=CLICK,
        document_id=_DOCUMENT,
        value=None,
        user_id="u-1842",
        client_id=None,
        session_id=None,
    ),
)
"""One of each type."""
