"""Tables where there is little room."""

from uuid import UUID

import pytest
from libs.client.tests.conftest import Quarry
from libs.client.tests.http_server import Reply, Server
from libs.client.tests.unit.test_audit import DENIED
from libs.client.tests.unit.test_caches import REPORT
from libs.client.tests.unit.test_keys import BOUND
from libs.client.tests.unit.test_tenants import TENANT
from libs.client.tests.unit.test_usage import day

from quarry_client.cli import output

ID = str(UUID(int=5))
SLUG = "a-tenant-with-a-slug-of-some-length"


@pytest.mark.parametrize(
    ("arguments", "answer", "whole"),
    [
        (
            ("keys", "list"),
            {"keys": [BOUND | {"name": "the key of the web shop in the new data centre"}]},
            (ID, "qk_live_abcd", "2026-01-02"),
        ),
        (
            ("tenants", "list"),
            {"tenants": [TENANT | {"slug": SLUG, "name": "A Tenant Whose Name Is Longer Than Most Are"}]},
            (SLUG, "starter", "2026-01-02 03:04:05"),
        ),
        (
            ("audit", "list"),
            {"entries": [DENIED | {"number": 1_234_567, "target": ID, "actor": {"kind": "search_token"}}]},
            ("1234567", "2026-01-02 03:04:05", "search_token", ID),
        ),
        (
            ("usage",),
            {"tenant": SLUG, "days": [day("2026-01-31", 123_456, tokens=1_234_567_890)]},
            ("2026-01-31", "123456.0", "1234567890", "246912.0"),
        ),
        (
            ("cache", "stats"),
            REPORT | {"instances": [REPORT["instances"][0] | {"instance": "a-host-with-a-long-name-12345"}]},  # type: ignore[index]
            ("search", "answers", "75%", "half_open"),
        ),
    ],
)
def test_a_table_fits_a_hundred_columns_and_what_is_to_be_copied_stands_whole(
    quarry: Quarry,
    served: Server,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    answer: dict[str, object],
    whole: tuple[str, ...],
) -> None:
    monkeypatch.setattr(output, "_PIPE_WIDTH", 100)
    served.answer = lambda _: Reply(200, answer)

    lines = quarry(*arguments).stdout.splitlines()

    assert max(map(len, lines)) <= 100
    assert [text for text in whole if not any(text in line for line in lines)] == []
    assert not any("…" in line for line in lines)


def test_times_are_told_in_the_unit_that_fits() -> None:
    assert [output.duration(seconds) for seconds in (0.2, 119, 121, 3600, 7261)] == [
        "1 s", "119 s", "3 min", "1 h 0 min", "2 h 2 min",
    ]  # fmt: skip
