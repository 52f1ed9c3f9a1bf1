"""docs/events.md tells subscribers what the code says."""

import re
from pathlib import Path

from quarry_common.contracts.events import catalogue
from quarry_common.contracts.replaying import KEPT_HOURS, MAX_EVENTS, OutboxService

PAGE = (Path(__file__).parents[4] / "docs" / "events.md").read_text(encoding="utf-8")


def test_the_page_lists_every_type_as_the_catalogue_does() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (\d+) \| ([a-z, ]+) \| (.+) \|$", PAGE, re.MULTILINE)

    assert rows == [
        (each.type, str(each.version), ", ".join(each.ways), each.description) for each in catalogue()
    ]


def test_the_page_tells_how_much_can_be_replayed() -> None:
    assert f"for {KEPT_HOURS} hours" in PAGE
    assert f"{MAX_EVENTS:,} events" in PAGE
    assert all(f"`{service}`" in PAGE for service in OutboxService)
