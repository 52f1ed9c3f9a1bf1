"""What was searched. It is told in a log of its own (SEARCHES), not among the other events."""

from typing import ClassVar, Final
from uuid import UUID

from quarry_common.contracts.events.base import EventData, Way
from quarry_common.contracts.search import CacheUse, SearchMode
from quarry_common.contracts.search_log import PerformedSearch


class SearchPerformed(PerformedSearch, EventData, frozen=True):
    """A search was answered. The query is the user's own; nothing of what was found is told but its count."""

    type: ClassVar[str] = "search.performed"
    ways: ClassVar[frozenset[Way]] = frozenset({Way.STREAM})

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.query_id)


EXAMPLES: Final = (
    SearchPerformed(
        query_id=UUID("01931c2e-78a9-7f54-8c6d-4b0e2a1f9c68"),
        query="how are travel expenses settled",
        mode=SearchMode.HYBRID,
        collections=["handbook"],
        results=10,
        total=84,
        top_score=0.83,
        duration_ms=41.7,
        cache=CacheUse.MISS,
        user="u-1842",
        key_id=UUID("01931c2e-72c4-7b8e-a6d1-3f5c9e0a7b21"),
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    ),
)
"""One of each type."""
