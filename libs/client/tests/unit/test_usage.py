"""`quarry usage`."""

import json
from collections.abc import Iterator

import pytest
from libs.client.tests.conftest import Quarry
from libs.client.tests.http_server import Reply, Server

CSV = {"Content-Type": "text/csv"}


def day(name: str, added: int, **more: object) -> dict[str, object]:
    return {
        "day": name, "documents_added": added, "bytes_added": added * 2**20, "chunks": 3, "tokens": 40,
        "searches": 5, "documents": added * 10, "storage_bytes": added * 2**21,
    } | more  # fmt: skip


DAYS = [day("2026-01-30", 1), day("2026-01-31", 2)]
LINES = [
    *({"tenant": "acme"} | each for each in DAYS),
    {"tenant": "zeta"} | day("2026-01-31", 7),
]
NDJSON = "".join(f"{json.dumps(line)}\n" for line in LINES).encode()
ALL = {"first": "2026-01-30", "last": "2026-01-31"}
OPTIONS = ("--first", "2026-01-30", "--last", "2026-01-31")


def test_each_day_is_shown_and_all_together(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"tenant": "acme", "days": DAYS})

    lines = [line.split() for line in quarry("usage", *OPTIONS).stdout.splitlines()]

    assert (served.received[0].path, served.received[0].query) == ("/api/usage", ALL)
    assert lines[-3:] == [
        ["2026-01-30", "1", "1.0", "3", "40", "5", "10", "2.0"],
        ["2026-01-31", "2", "2.0", "3", "40", "5", "20", "4.0"],
        ["together", "3", "3.0", "6", "80", "10", "20", "4.0"],
    ]
    assert json.loads(quarry("usage", "--json").stdout)["days"] == DAYS
    assert served.received[1].query == {}


@pytest.mark.parametrize("format_name", ["csv", "ndjson"])
def test_text_for_billing_is_written_as_it_came(quarry: Quarry, served: Server, format_name: str) -> None:
    text = b"tenant,day\r\nacme,2026-01-31\r\n"
    served.answer = lambda _: Reply(200, text, CSV)

    assert quarry("usage", "--format", format_name, *OPTIONS).stdout_bytes == text
    assert quarry("usage", "--all", "--format", format_name, *OPTIONS).stdout_bytes == text

    own, everybodys = served.received
    assert (own.path, own.query) == ("/api/usage", ALL | {"format": format_name})
    assert (everybodys.path, everybodys.query) == ("/api/admin/usage", ALL | {"format": format_name})


def test_each_tenant_is_shown_with_all_its_days_together(quarry: Quarry, served: Server) -> None:
    pieces = [NDJSON[start : start + 7] for start in range(0, len(NDJSON), 7)]
    served.answer = lambda _: Reply(200, iter(pieces))

    lines = [line.split() for line in quarry("usage", "--all", *OPTIONS).stdout.splitlines()]

    assert served.received[0].query == ALL | {"format": "ndjson"}
    assert lines[-2:] == [
        ["acme", "3", "3.0", "6", "80", "10", "20", "4.0"],
        ["zeta", "7", "7.0", "3", "40", "5", "70", "14.0"],
    ]
    served.answer = lambda _: Reply(200, NDJSON)
    told = json.loads(quarry("usage", "--all", "--json").stdout)["tenants"]
    assert [(each["tenant"], each["searches"]) for each in told] == [("acme", 10), ("zeta", 5)]


def test_an_export_that_breaks_off_is_told_by_the_exit_code(quarry: Quarry, served: Server) -> None:
    def broken() -> Iterator[bytes]:
        yield NDJSON
        raise ConnectionResetError

    served.answer = lambda _: Reply(200, broken())
    exported = quarry("usage", "--all", "--format", "ndjson")
    assert (exported.exit_code, exported.stdout_bytes) == (1, NDJSON)
    assert "broke off" in exported.stderr
    served.answer = lambda _: Reply(200, broken())
    assert (quarry("usage", "--all").exit_code, quarry("usage", "--all").stdout) == (1, "")


def test_a_line_that_is_no_usage_is_told(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, b'{"tenant": "acme"}\n')
    told = quarry("usage", "--all")
    assert told.exit_code == 1
    assert "A line of usage is not readable" in told.stderr


@pytest.mark.parametrize(
    "given", [("--json", "--format", "csv"), ("--all", "--tenant", "acme"), ("--first", "yesterday")]
)
def test_options_that_do_not_go_together_are_a_usage_error(
    quarry: Quarry, served: Server, given: tuple[str, ...]
) -> None:
    assert quarry("usage", *given).exit_code == 2
    assert not served.received
