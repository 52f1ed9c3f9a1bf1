"""The catalogue: what each type of event is, looks like, and how it reaches subscribers."""

import inspect
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from quarry_common.contracts.events.base import EventData, Way, schema_id
from quarry_common.contracts.events.envelope import envelope
from quarry_common.contracts.events.searches import Interacted
from quarry_common.contracts.events.types import EXAMPLES
from quarry_common.contracts.tenancy import PLATFORM_TENANT

Json = dict[str, Any]

_ID: Final = UUID("01931c2e-7b2c-7e41-a3f5-8c9d0b6e1a52")
_TENANT: Final = UUID("01931c2e-70aa-7f10-8d3c-9b1e6a4f2c55")
_SENT: Final = datetime(2027, 1, 31, 9, 30, tzinfo=UTC)
_TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_SERVICES: Final = {
    "document": "indexer",
    "job": "indexer",
    "collection": "indexer",
    "webhook": "webhooks",
    "health": "gateway",
    "search": "search",
}
"""Which service tells of an entity; of the others the tenants service does."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class EventType(msgspec.Struct, frozen=True):
    """A type of event. `schema` (2020-12) describes `data`, as `example` is."""

    type: str
    description: str
    version: int
    ways: list[Way]
    schema: Json
    example: Json


def catalogue() -> list[EventType]:
    """Return every type of event; those of one entity stand together."""
    return [_described(example) for example in EXAMPLES]


def _described(example: EventData) -> EventType:
    kind = type(example)
    return EventType(
        type=kind.type,
        description=_meaning(kind),
        version=kind.schema_version,
        ways=sorted(kind.ways, key=list(Way).index),
        schema=schema_of(kind),
        example=msgspec.json.decode(msgspec.json.encode(example)),
    )


def schema_of(kind: type[EventData]) -> Json:
    """Return the schema of `kind`, by itself: what it refers to stands in its `$defs`.

    It does not forbid further fields: they may be added without a new version.
    """
    (schema,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = components.pop(schema["$ref"].rpartition("/")[2])
    own.pop("description", None)
    defs = {"$defs": dict(sorted(components.items()))} if components else {}
    # To and fro, so that defaults are lists where they are tuples in Python.
    found: Json = msgspec.json.decode(
        msgspec.json.encode(
            {"$schema": DIALECT, "$id": schema_id(kind), "description": _meaning(kind), **own, **defs}
        )
    )
    return found


def _meaning(kind: type[EventData]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def message_of(example: EventData) -> Json:
    """Return `example` as it is sent, in its envelope, with an id and a time that stay the same."""
    kind = type(example)
    tenant_id = PLATFORM_TENANT if kind.of_installation else _TENANT
    source = "gateway" if kind is Interacted else _SERVICES.get(kind.type.partition(".")[0], "tenants")
    sent = envelope(example, source=source, tenant_id=tenant_id, traceparent=_TRACE, event_id=_ID)
    found: Json = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(sent, time=_SENT)))
    return found
