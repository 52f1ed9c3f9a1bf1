"""Which events a subscriber wants: `document.indexed`, `document.*`, `*`."""

from collections.abc import Collection
from typing import Final

from quarry_common.contracts.events.base import Way
from quarry_common.contracts.events.types import EVENT_TYPES

_ELSEWHERE: Final = {
    way: frozenset(name for name, kind in EVENT_TYPES.items() if way not in kind.ways) for way in Way
}


def filters_for(way: Way, *, installation: bool = False) -> frozenset[str]:
    """Return the filters that some event on `way` matches; with `installation` its own events count, too."""
    types = [
        name
        for name, kind in EVENT_TYPES.items()
        if way in kind.ways and (installation or not kind.of_installation)
    ]
    return frozenset({"*", *types, *(_entity(name) for name in types)})


def matches(event_type: str, filters: Collection[str], way: Way) -> bool:
    """Whether an event of `<entity>.<verb>` is wanted by one of `filters` and reaches subscribers on `way`.

    A type that is not known, as a newer release may send, goes every way.
    """
    if event_type in _ELSEWHERE[way]:
        return False
    return "*" in filters or event_type in filters or _entity(event_type) in filters


def _entity(event_type: str) -> str:
    return f"{event_type.partition('.')[0]}.*"
