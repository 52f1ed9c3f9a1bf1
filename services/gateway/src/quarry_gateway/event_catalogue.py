"""The types of events that webhooks can ask for: what each means, its data's schema, and an example."""

from datetime import datetime
from enum import Enum
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin
from uuid import UUID

import msgspec

from quarry_common.contracts.events import EVENT_TYPES, EventData

Json = dict[str, Any]


class EventType(msgspec.Struct, frozen=True):
    """A type of event: what it means, and what is told with it."""

    type: str
    description: str
    schema: Json
    """JSON Schema of `data`."""
    example: Json
    """Of `data`."""


class EventCatalogue(msgspec.Struct, frozen=True):
    """Every type of event, by name."""

    event_types: list[EventType]


_SAMPLES: Final[dict[object, object]] = {
    UUID: "01936f0e-5a7c-7cc3-98c4-dc0c0c07398f",
    datetime: "2026-01-31T12:00:00Z",
    str: "text",
    int: 1,
    float: 0.5,
    bool: True,
}


def catalogue() -> EventCatalogue:
    """Return every type of event, by name."""
    return EventCatalogue([_entry(EVENT_TYPES[name]) for name in sorted(EVENT_TYPES)])


def _entry(kind: type[EventData]) -> EventType:
    meaning = " ".join((kind.__doc__ or "").split())
    return EventType(kind.type, meaning, msgspec.json.schema(kind), _struct(kind))


def _struct(kind: type[msgspec.Struct]) -> Json:
    return {field.encode_name: _sample(field.type) for field in msgspec.structs.fields(kind)}


def _sample(kind: Any) -> object:
    if get_origin(kind) in {Union, UnionType}:
        return _sample(get_args(kind)[0])
    if get_origin(kind) in {list, tuple}:
        return [_sample(get_args(kind)[0])]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind)).value
    return _SAMPLES[kind]
