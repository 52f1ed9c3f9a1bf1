"""What is sent to endpoints is what docs/asyncapi.json says."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from quarry_common.contracts.events import EXAMPLES, EventData, Way, message_of
from quarry_webhooks.domain import messages

DESCRIBED = json.loads((Path(__file__).parents[4] / "docs" / "asyncapi.json").read_text(encoding="utf-8"))
SENT = [example for example in EXAMPLES if Way.WEBHOOKS in example.ways]


@pytest.mark.parametrize("example", SENT, ids=lambda example: example.type)
def test_a_body_is_as_described(example: EventData) -> None:
    body = messages.read(msgspec.json.encode(message_of(example)), 1).payload

    message = DESCRIBED["components"]["messages"][f"webhook.{example.type}"]
    schema = message["payload"] | {"components": DESCRIBED["components"]}
    jsonschema.validate(json.loads(body), schema, cls=jsonschema.Draft202012Validator)
    assert json.loads(body) == message["examples"][0]["payload"]
    assert json.loads(body).keys() == message["payload"]["properties"].keys()
