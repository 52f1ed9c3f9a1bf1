"""What was typed on the way to a query is no query of its own."""

import random
from datetime import UTC, datetime, timedelta

from quarry_analytics.domain.collapsing import Typed, collapsed
from quarry_common.ids import new_id

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def typed(*steps: tuple[float, str], client: str = "a") -> list[Typed]:
    return [Typed(new_id(), START + timedelta(seconds=seconds), client, text) for seconds, text in steps]


def texts(searches: list[Typed]) -> list[str]:
    gone = collapsed(random.Random(1).sample(searches, len(searches)))
    return [each.normal for each in searches if each.query_id not in gone]


def test_prefixes_in_quick_succession_go() -> None:
    assert texts(typed((0, "le"), (1, "lea"), (3.9, "lease"))) == ["lease"]


def test_what_one_paused_at_stays() -> None:
    assert texts(typed((0, "lease"), (3.1, "lease deposit"))) == ["lease", "lease deposit"]


def test_another_query_and_the_same_again_stay() -> None:
    assert texts(typed((0, "lease"), (1, "rent"), (2, "rent"))) == ["lease", "rent", "rent"]
    assert texts(typed((0, "lease"), (1, "le"))) == ["lease", "le"]


def test_clients_are_apart() -> None:
    assert texts([*typed((0, "le"), client="a"), *typed((1, "lease"), client="b")]) == ["le", "lease"]
