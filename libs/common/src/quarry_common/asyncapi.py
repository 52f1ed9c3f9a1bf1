"""The description of what is sent (AsyncAPI 3.0), made from the types of events: `python -m
quarry_common.asyncapi` prints it."""

import json
import sys
from importlib.metadata import version
from typing import Any, Final
from uuid import UUID

import msgspec

from quarry_common.contracts.events import (
    EXAMPLES,
    CloudEvent,
    EventData,
    Interacted,
    Searched,
    SearchesUnrecorded,
    Way,
    catalogue,
    envelope,
    message_of,
    schema_id,
    subject_of,
)

Json = dict[str, Any]

REF: Final = "#/components/schemas/{name}"
_SOME: Final = UUID(int=1)
"""Any tenant's id, to find where it stands in a subject."""
ABOUT: Final = (
    "Everything that changes is told as a CloudEvents 1.0 message in structured JSON: on NATS JetStream, by "
    "webhooks, and as server-sent events. Delivery is at least once: who has seen an `id` does nothing twice."
    " Fields and values of enumerations may be added; what a reader would not bear has another version, the "
    "last part of `dataschema`."
)
BATCH: Final = "application/cloudevents-batch+json"
EVENT: Final = "application/cloudevents+json"
LOGS: Final = {"searches": (Searched, SearchesUnrecorded), "interactions": (Interacted,)}
LOGGED: Final[dict[type[EventData], str]] = {kind: name for name, kinds in LOGS.items() for kind in kinds}
HEADERS: Final[Json] = {
    "type": "object",
    "properties": {
        "Nats-Msg-Id": {"type": "string", "description": "By this JetStream leaves out what is sent twice."},
        "traceparent": {"type": "string", "description": "Of the trace that led to it (W3C)."},
    },
    "required": ["Nats-Msg-Id"],
}
SIGNED: Final[Json] = {
    "type": "object",
    "properties": {
        "webhook-id": {"type": "string", "description": "The event's id, the same for every attempt."},
        "webhook-timestamp": {"type": "string", "description": "Of the attempt, in seconds since 1970."},
        "webhook-signature": {
            "type": "string",
            "description": "Standard Webhooks 1.0: `v1,<base64>`, spaced.",
        },
        "traceparent": {"type": "string"},
    },
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
}


def describe(release: str) -> Json:
    """Return the description of every channel and message of `release`."""
    kinds = [type(example) for example in EXAMPLES]
    (cloud_event, *data), schemas = msgspec.json.schema_components([CloudEvent, *kinds], ref_template=REF)
    found = zip(EXAMPLES, data, strict=True)
    told = {example.type: (example, schema) for example, schema in found}
    by_webhook = {name: each for name, each in told.items() if Way.WEBHOOKS in each[0].ways}
    messages = {name: _event(*each, cloud_event) for name, each in told.items() if Way.STREAM in each[0].ways}
    messages |= {
        f"live.{name}": _line(*each, cloud_event) for name, each in told.items() if Way.SSE in each[0].ways
    }
    messages |= {f"webhook.{name}": _request(*each) for name, each in by_webhook.items()}
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Quarry", "version": release, "description": ABOUT},
        "defaultContentType": EVENT,
        "channels": channels,
        "operations": {_operation_name(name): _operation(name, each) for name, each in channels.items()},
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def channel_of(kind: type[EventData]) -> str:
    """Return the name of the channel on which `kind` is sent over NATS."""
    return LOGGED.get(kind, kind.type)


def _channels() -> Json:
    channels: Json = {}
    for example in EXAMPLES:
        kind = type(example)
        if Way.STREAM not in kind.ways:
            continue
        name = channel_of(kind)
        channel = channels.setdefault(name, _channel(example))
        channel["messages"][kind.type] = {"$ref": f"#/components/messages/{kind.type}"}
    channels["live"] = {
        "address": "/api/events/stream",
        "title": "Live stream",
        "description": "Server-sent events of the HTTP API; each message is the data of one event.",
        "messages": {
            example.type: {"$ref": f"#/components/messages/live.{example.type}"}
            for example in EXAMPLES
            if Way.SSE in example.ways
        },
    }
    wanted = [example.type for example in EXAMPLES if Way.WEBHOOKS in example.ways]
    channels["webhooks"] = {
        "address": None,
        "title": "Webhooks",
        "description": "POST requests to the URLs that a tenant has registered.",
        "messages": {name: {"$ref": f"#/components/messages/webhook.{name}"} for name in wanted},
    }
    return channels


def _channel(example: EventData) -> Json:
    sent = envelope(example, source="", tenant_id=None if example.of_installation else _SOME)
    channel: Json = {"address": subject_of(sent).replace(str(_SOME), "{tenant_id}"), "messages": {}}
    if not example.of_installation:
        channel["parameters"] = {"tenant_id": {"description": "Id of the tenant, a UUID."}}
    return channel


def _operation(name: str, channel: Json) -> Json:
    refs = [f"#/channels/{name}/messages/{message}" for message in channel["messages"]]
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": ref} for ref in refs],
    }


def _operation_name(channel: str) -> str:
    return "send_" + channel.replace(".", "_")


def _event(example: EventData, data: Json, cloud_event: Json) -> Json:
    kind = type(example)
    event = _envelope(kind, data, cloud_event)
    sent: object = message_of(example)
    logged = kind in LOGGED
    return {
        **_named(kind),
        "contentType": BATCH if logged else EVENT,
        "headers": HEADERS,
        "payload": {"type": "array", "items": event} if logged else event,
        "examples": [{"name": "sent", "payload": [sent] if logged else sent}],
    }


def _line(example: EventData, data: Json, cloud_event: Json) -> Json:
    kind = type(example)
    return {
        **_named(kind),
        "contentType": EVENT,
        "payload": _envelope(kind, data, cloud_event),
        "examples": [{"name": "sent", "payload": message_of(example)}],
    }


def _envelope(kind: type[EventData], data: Json, cloud_event: Json) -> Json:
    fixed = {"type": {"const": kind.type}, "dataschema": {"const": schema_id(kind)}, "data": data}
    return {"allOf": [cloud_event, {"type": "object", "properties": fixed}]}


def _request(example: EventData, data: Json) -> Json:
    kind, sent = type(example), message_of(example)
    text = {"type": "string"}
    names = {"id": text, "type": {"const": kind.type}, "timestamp": {"type": "string", "format": "date-time"}}
    properties = {**names, "subject": text, "tenant_id": text, "data": data}
    body = {
        "id": sent["id"],
        "type": sent["type"],
        "timestamp": sent["time"],
        "subject": sent["subject"],
        "tenant_id": sent["tenantid"],
        "data": sent["data"],
    }
    return {
        **_named(kind),
        "contentType": "application/json",
        "headers": SIGNED,
        "payload": {"type": "object", "properties": properties, "required": [*properties]},
        "examples": [{"name": "sent", "payload": body}],
    }


def _named(kind: type[EventData]) -> Json:
    meaning = next(each.description for each in catalogue() if each.type == kind.type)
    return {"name": kind.type, "title": kind.__name__, "summary": meaning}


if __name__ == "__main__":
    description = msgspec.to_builtins(describe(version("quarry-common")))
    sys.stdout.write(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
