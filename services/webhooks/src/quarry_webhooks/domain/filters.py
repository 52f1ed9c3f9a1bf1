"""Which events an endpoint wants: `document.indexed`, `document.*`, `*`."""

from collections.abc import Collection


def matches(event_type: str, filters: Collection[str]) -> bool:
    """Whether an event of `<entity>.<verb>` is wanted by one of `filters`."""
    return "*" in filters or event_type in filters or f"{event_type.partition('.')[0]}.*" in filters
