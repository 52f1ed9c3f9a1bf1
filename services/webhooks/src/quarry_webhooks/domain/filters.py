"""Which events an endpoint wants: `document.indexed`, `document.*`, `*`."""

from collections.abc import Collection
from typing import Final

from quarry_common.contracts.events import EVENT_TYPES, WEBHOOK_TYPES

OTHERWISE: Final = EVENT_TYPES.keys() - WEBHOOK_TYPES
"""Types that reach nobody by webhooks, such as the progress of jobs."""


def matches(event_type: str, filters: Collection[str]) -> bool:
    """Whether an event of `<entity>.<verb>` is wanted by one of `filters`."""
    if event_type in OTHERWISE:
        return False
    return "*" in filters or event_type in filters or f"{event_type.partition('.')[0]}.*" in filters
