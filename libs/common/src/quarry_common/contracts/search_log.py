"""The search log: what was searched and what came of it, on the stream SEARCHES.

Search instances send `Searched` as CloudEvents `search.performed`, several in one message (a CloudEvents
batch) on `log.v1.<tenant>.search`; gateways send what users did with the results on
`log.v1.<tenant>.interaction`.
Both are many and small, and kept apart from the events, so that they never evict those.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from quarry_common.contracts.events import EventData
from quarry_common.contracts.search import CacheUse, SearchMode

MAX_QUERY_LENGTH = 1_000


class Searched(EventData, frozen=True, kw_only=True):
    """A search was answered."""

    type: ClassVar[str] = "search.performed"
    query_id: UUID
    occurred_at: datetime
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
    event_id: UUID
    """Given by the sender, or made of all the rest: what comes twice counts once."""
    query_id: UUID
    occurred_at: datetime
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
