import json
import logging

import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import KeyLabel
from quarry_common.telemetry.logging import JsonFormatter, bound


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.LogRecord("a.logger", logging.INFO, __file__, 1, message, args, None)
    vars(record).update(extra)
    return JsonFormatter("probe").format(record)


def test_a_line_is_one_json_object() -> None:
    text = line("two\nlines of %s ☃", "text", size_bytes=5)

    assert "\n" not in text
    found = json.loads(text)
    assert found["message"] == "two\nlines of text ☃"
    assert (found["level"], found["service"], found["logger"], found["size_bytes"]) == (
        "info",
        "probe",
        "a.logger",
        5,
    )


def test_what_is_bound_stands_in_every_line_within() -> None:
    with bound(tenant="acme"), bound(request_id="r1"):
        inside = json.loads(line("x"))
    outside = json.loads(line("x"))

    assert (inside["tenant"], inside["request_id"]) == ("acme", "r1")
    assert "tenant" not in outside


KEY = keys.generate(KeyLabel.LIVE)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} refused", KEY[-20:]),
        (f"key {KEY} refused", KEY[-6:]),
        ("postgresql://user:hunter2@host/db", "hunter2"),
        ("postgresql://user:hun@ter2@host/db", "ter2"),
        ("redis://:hunter2@host:6379/0", "hunter2"),
        ("nats://hunter2@host:4222", "hunter2"),
        ("Authorization: Bearer hunter2.abc-def", "hunter2"),
        ("authorization: bearer hunter2", "hunter2"),
        ("whsec_hunter2aaaaaaaaaaaaaa", "hunter2"),
    ],
)
def test_a_secret_is_not_written(text: str, secret: str) -> None:
    assert secret not in line(text)
    assert secret not in line("%s", text)
    assert secret not in line("x", address=text)


def test_a_secret_in_an_exception_is_not_written() -> None:
    try:
        raise ValueError(f"cannot reach postgresql://u:hunter2@h with {KEY}")  # noqa: TRY301 - its traceback
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.ERROR, "f", 1, "failed", (), (type(error), error, error.__traceback__)
        )
        text = JsonFormatter("probe").format(record)

    assert "ValueError" in json.loads(text)["exception"]
    assert "hunter2" not in text
    assert KEY not in text


def test_addresses_without_secrets_stay() -> None:
    text = 'see http://127.0.0.1:6333/collections and "mail@example.org"'

    assert json.loads(line(text))["message"] == text
