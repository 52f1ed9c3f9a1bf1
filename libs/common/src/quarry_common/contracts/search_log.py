"""The search log: what was searched and what came of it, on the stream SEARCHES.

Search instances send `Searched` as CloudEvents `search.performed`, several in one message (a CloudEvents
batch) on `log.v1.<tenant>.search`; gateways send what users did with the results on
`log.v1.<tenant>.interaction`.
Both are many and small, and kept apart from the events, so that they never evict those.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.search import CacheUse, SearchMode

MAX_RESULTS_LOGGED = 100
UserId = Annotated[str, Meta(min_length=1, max_length=200)]
"""Whoever searches, as the application names them; it says nothing to Quarry."""


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """One answered search."""

    query_id: UUID
    occurred_at: datetime
    query: str
    """As it was written, at most 1,000 characters."""
    mode: SearchMode
    collection: str | None
    """When the search was limited to one."""
    filtered: bool
    limit: int
    total: int
    results: list[UUID]
    """Documents of the answer, best first, each once."""
    top_score: float | None
    duration_ms: float
    """In the search service."""
    cache: CacheUse
    key_id: UUID | None
    user_id: str | None
    client_id: str | None
    """The device or browser, as the application names it."""
    trace_id: str
    page: int = 1
    """Later pages of a list are no searches of their own."""


class Action(StrEnum):
    """What a user did with the answer to a search; the names are UBI's."""

    CLICK = "click"
    IMPRESSION = "impression"
    """Results were on the screen."""
    ADD_TO_CART = "add_to_cart"
    PURCHASE = "purchase"
    FEEDBACK = "feedback"
    """`value` says how good a result was: -1 bad, 1 good."""


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a user did with the answer to a search, in the form of UBI 1.3."""

    event_id: UUID
    """Given by the sender, or made of all the rest: what comes twice counts once."""
    query_id: UUID
    occurred_at: datetime
    action: Action
    document_id: UUID | None
    value: float | None
    user_id: str | None
    client_id: str | None
    session_id: str | None
