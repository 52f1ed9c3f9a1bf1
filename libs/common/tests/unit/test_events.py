from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest
from libs.common.tests.golden import forms

from quarry_common.contracts.events import (
    EVENT_TYPES,
    EXAMPLES,
    WEBHOOK_TYPES,
    CloudEvent,
    EventData,
    WebhookEndpointDisabled,
    WebhookEndpointFailing,
    catalogue,
    decode_data,
    envelope,
    schema_of,
    subject_of,
)
from quarry_common.contracts.streams import STREAMS
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.contracts.webhooks import DisabledReason
from quarry_common.ids import new_id

WRITE = "`python -m libs.common.tests.golden.forms`, and commit what it changes"


def subclasses(kind: type[EventData]) -> list[type[EventData]]:
    return [each for below in kind.__subclasses__() for each in (below, *subclasses(below))]


def by_type(example: EventData) -> str:
    return example.type


@pytest.mark.parametrize("example", EXAMPLES, ids=by_type)
def test_what_an_event_looks_like_changes_on_purpose_only(example: EventData) -> None:
    old, new = forms.agreed(example.type), forms.form_of(example)
    if old == new:
        return
    assert old is not None, f"{example.type} is new: describe it in docs/events.md, then {WRITE}."
    broken = forms.breaks(old["schema"], new["schema"])
    raised = new["schema"]["$id"] != old["schema"]["$id"]
    assert not broken or raised, (
        f"{example.type} is no longer what its subscribers read: {'; '.join(broken)}. Leave it as it was, or "
        f"raise its `schema_version` and tell of it in docs/events.md, then {WRITE}."
    )
    pytest.fail(f"{example.type} looks otherwise in a way that subscribers bear: {WRITE}.")


def test_nothing_is_agreed_on_that_is_not_sent() -> None:
    assert {path.stem for path in forms.FOLDER.glob("*.json")} == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"properties": {"a": {"type": "string"}}}, ["data.b is gone"]),
        (
            {"properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}},
            ["data.a.type: 'string' is now 'integer'"],
        ),
        (
            {"properties": {"a": {"type": "string"}, "b": {"enum": ["x"]}}},
            ["data.b: 'y' is no value any more"],
        ),
        (
            {"required": ["a", "c"], "properties": {"a": {"type": "string"}, "b": {"enum": ["x", "y"]}}},
            ["data.c must be there, which older messages do not have"],
        ),
        ({"required": []}, ["data.a need not be there any more"]),
        ({"properties": {"a": {"type": "string"}, "b": {"enum": ["x", "y", "z"]}, "c": {}}}, []),
        ({"description": "said better"}, []),
    ],
)
def test_what_breaks_subscribers_is_told_from_what_does_not(
    change: dict[str, object], told: list[str]
) -> None:
    old = {
        "description": "said",
        "properties": {"a": {"type": "string"}, "b": {"enum": ["x", "y"]}},
        "required": ["a"],
    }

    assert forms.breaks(old, old | change) == told


@pytest.mark.parametrize("example", EXAMPLES, ids=by_type)
def test_an_example_is_what_its_schema_says_and_comes_back_as_it_was(example: EventData) -> None:
    sent = forms.form_of(example)["message"]

    jsonschema.validate(
        sent["data"], schema_of(type(example)), format_checker=jsonschema.FormatChecker(["uuid", "date-time"])
    )
    assert decode_data(msgspec.convert(_raw(sent), CloudEvent)) == example


def _raw(sent: dict[str, object]) -> dict[str, object]:
    return sent | {"data": msgspec.Raw(msgspec.json.encode(sent["data"]))}


def test_every_kind_of_event_is_in_the_catalogue() -> None:
    named = {kind for kind in subclasses(EventData) if "type" in vars(kind)}

    assert named == set(EVENT_TYPES.values())
    assert len(named) == len(EXAMPLES) == len(EVENT_TYPES)


def test_the_catalogue_describes_each_type_by_itself() -> None:
    for each in catalogue():
        jsonschema.Draft202012Validator.check_schema(each.schema)
        assert each.schema["$id"] == f"urn:quarry:event:{each.type}:{each.version}"
        assert each.description.endswith(".")
        assert each.ways
        text = msgspec.json.encode(each.schema).decode()
        assert "#/components" not in text


@pytest.mark.parametrize("example", EXAMPLES, ids=by_type)
def test_an_event_is_kept_by_a_stream_of_its_own_tenant(example: EventData) -> None:
    event = envelope(example, source="probe", tenant_id=new_id())
    subject = subject_of(event)

    kept = [
        stream.name
        for stream in STREAMS
        if any(subject.startswith(each.rstrip(">")) for each in stream.subjects)
    ]
    assert len(kept) == 1
    assert f".{event.tenantid}." in subject


def test_what_concerns_the_installation_reaches_no_webhook() -> None:
    told = {"health.check_failed", "health.recovered", "tenant.purged"}

    assert not told & WEBHOOK_TYPES
    for example in EXAMPLES:
        sent = forms.form_of(example)["message"]
        assert (sent["tenantid"] == str(PLATFORM_TENANT)) == (example.type in told)


def test_an_event_names_the_version_of_what_it_carries() -> None:
    event = envelope(EXAMPLES[0], source="probe", tenant_id=None)

    assert event.dataschema == f"urn:quarry:event:{EXAMPLES[0].type}:1"


def test_events_before_there_were_versions_are_read_still() -> None:
    sent = forms.form_of(EXAMPLES[0])["message"]
    del sent["dataschema"]

    assert decode_data(msgspec.convert(_raw(sent), CloudEvent)) == EXAMPLES[0]


def test_an_event_tells_no_secret_of_an_endpoints_url() -> None:
    now = datetime.now(UTC)
    url = "https://user:password@acme.example:8443/hooks?token=secret#part"

    disabled = WebhookEndpointDisabled(new_id(), url, DisabledReason.GONE, None)
    failing = WebhookEndpointFailing(new_id(), url, now, now)

    assert disabled.url == failing.url == "https://acme.example:8443/hooks"
