import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quarry_common.asyncapi import channel_of, describe
from quarry_common.contracts.events import EVENT_TYPES, EXAMPLES, WEBHOOK_TYPES, Way, message_of

Json = dict[str, Any]

WRITTEN: Json = json.loads((Path(__file__).parents[4] / "docs" / "asyncapi.json").read_text(encoding="utf-8"))
MESSAGES: Json = WRITTEN["components"]["messages"]


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def resolve(reference: str) -> Json:
    found: Json = WRITTEN
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def validate(payload: object, message: str) -> None:
    """Hold a payload against what the document says of a message."""
    schema = MESSAGES[message]["payload"] | {"components": WRITTEN["components"]}
    jsonschema.validate(payload, schema, cls=jsonschema.Draft202012Validator)


def test_the_written_description_is_that_of_the_code() -> None:
    told = json.loads(json.dumps(describe(WRITTEN["info"]["version"])))

    assert told == WRITTEN, "run `make asyncapi`"


def test_every_reference_leads_somewhere() -> None:
    found = set(references(WRITTEN))

    assert found
    for each in found:
        assert resolve(each)


def test_it_has_the_shape_of_asyncapi_3() -> None:
    assert WRITTEN["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= WRITTEN["info"].keys()
    for name, channel in WRITTEN["channels"].items():
        assert re.fullmatch(r"[A-Za-z0-9_.\-]+", name)
        placeholders = set(re.findall(r"\{(\w+)\}", channel["address"] or ""))
        assert placeholders == channel.get("parameters", {}).keys()
        assert channel["messages"]
    for operation in WRITTEN["operations"].values():
        assert operation["action"] == "send"
        channel = operation["channel"]["$ref"]
        assert all(each["$ref"].startswith(f"{channel}/messages/") for each in operation["messages"])


def test_every_type_has_a_message_on_each_of_its_ways() -> None:
    for name, kind in EVENT_TYPES.items():
        assert (name in MESSAGES) == (Way.STREAM in kind.ways)
        assert (f"webhook.{name}" in MESSAGES) == (name in WEBHOOK_TYPES)
        assert (f"live.{name}" in MESSAGES) == (Way.SSE in kind.ways)
        assert (name in WRITTEN["channels"]["live"]["messages"]) == (Way.SSE in kind.ways)
        if Way.STREAM in kind.ways:
            assert name in WRITTEN["channels"][channel_of(kind)]["messages"]
    assert set(WRITTEN["channels"]["webhooks"]["messages"]) == WEBHOOK_TYPES


@pytest.mark.parametrize("name", MESSAGES)
def test_an_example_is_what_its_message_says(name: str) -> None:
    for example in MESSAGES[name]["examples"]:
        validate(example["payload"], name)


@pytest.mark.parametrize("change", [{"type": "job.failed"}, {"data": {}}, {"dataschema": "urn:other"}])
def test_what_is_another_event_is_no_such_message(change: Json) -> None:
    sent = message_of(EXAMPLES[0])

    with pytest.raises(jsonschema.ValidationError):
        validate(sent | change, EXAMPLES[0].type)
