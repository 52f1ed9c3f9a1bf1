"""How rollups are written."""

import random
from datetime import UTC, datetime
from uuid import uuid4

from quarry_analytics.domain.tallies import QueryTally, Tally
from quarry_analytics.repository import rollups

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Noting:
    """A connection that notes what is written."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    async def execute(self, statement: str, *values: object) -> None:
        """Do nothing."""

    async def executemany(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        """Note the rows."""
        self.rows += rows


async def test_what_is_kept_of_a_query_on_a_day_lies_together() -> None:
    rng, noting = random.Random(9), Noting()
    seen = QueryTally(Tally(searches=1), NOW, NOW, "lease")
    queries = {
        (rng.randrange(-100, 100), mode, "default"): seen
        for mode in ("semantic", "hybrid")
        for _ in range(80)
    }

    await rollups.add_queries(noting, uuid4(), NOW.date(), queries)  # type: ignore[arg-type]

    assert [row[2:5] for row in noting.rows] == sorted(queries)
