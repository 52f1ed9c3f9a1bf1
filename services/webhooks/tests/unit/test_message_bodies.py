from uuid import UUID, uuid4

import msgspec
import pytest

from quarry_common.contracts.events import CollectionDeleted, envelope
from quarry_webhooks.domain.messages import read

TENANT = UUID("0190a6b2-0000-7000-8000-000000000001")


def test_a_body_tells_what_happened_in_compact_json() -> None:
    event = envelope(
        CollectionDeleted("manuals", 3), source="indexer", tenant_id=TENANT, traceparent="00-1-2-01"
    )

    message = read(msgspec.json.encode(event), 42)

    assert msgspec.json.decode(message.payload) == {
        "id": event.id,
        "type": "collection.deleted",
        "timestamp": msgspec.to_builtins(event.time),
        "subject": "manuals",
        "tenant_id": str(TENANT),
        "data": {"collection": "manuals", "documents": 3},
    }
    assert b": " not in message.payload
    assert (message.id, message.tenant_id, message.position) == (UUID(event.id), TENANT, 42)
    assert (message.event_type, message.subject) == ("collection.deleted", "manuals")
    assert message.traceparent == "00-1-2-01"


def test_an_event_always_has_the_same_bytes() -> None:
    raw = msgspec.json.encode(envelope(CollectionDeleted("m", 1), source="indexer", tenant_id=TENANT))

    assert read(raw, 1).payload == read(raw, 2).payload


@pytest.mark.parametrize(
    "change", [{"id": "7"}, {"tenantid": "acme"}, {"time": "2026-01-01T00:00:00"}, {"type": 5}, {"data": ...}]
)
def test_what_is_no_event_is_refused(change: dict[str, object]) -> None:
    event = {
        "id": str(uuid4()), "source": "/quarry/indexer", "type": "a.b", "subject": "s",
        "time": "2026-01-01T00:00:00Z", "tenantid": str(TENANT), "data": {}, "specversion": "1.0",
        "datacontenttype": "application/json",
    }  # fmt: skip
    read(msgspec.json.encode(event), 1)
    changed = {name: value for name, value in {**event, **change}.items() if value is not ...}

    with pytest.raises(msgspec.MsgspecError):
        read(msgspec.json.encode(changed), 1)
