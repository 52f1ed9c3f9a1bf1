"""Analytics of a running platform: figures, exports, and nothing lost when the service is killed."""

import asyncio
import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from services.analytics.tests.searched import Model, world
from tests.platform import Platform, Tenant, until

from quarry_client.types import SearchFigures
from quarry_common.contracts.analytics import Selection

FORMULAS = (
    '=HYPERLINK("http://evil.example","lease")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    'a "quoted", one',
)


async def counted(tenant: Tenant, searches: int) -> SearchFigures:
    """Return the figures of the last month when so many searches are in them."""

    async def all_there() -> SearchFigures | None:
        found = await tenant.client.search_stats(days=30)
        return found.figures if found.figures.total_searches + found.collapsed >= searches else None

    return await until(all_there, 90, f"{searches} searches are counted")


async def test_what_was_searched_and_clicked_is_told_and_exported(tenant: Tenant) -> None:
    await tenant.put("lease", "A lease ends with a notice of three months.")
    await tenant.put("deposit", "The deposit is paid back after the lease.")
    searches = ["lease", "LEASE", *FORMULAS]
    for query in searches:
        answer = await tenant.search(query)
    found = await tenant.search("notice of three months")
    clicked = {
        "action_name": "click",
        "query_id": str(found.query_id),
        "event_attributes": {"object": {"object_id": str(found.results[0].document_id)}},
    }
    told = await tenant.http.post("/api/events", json={"events": [clicked]})
    assert told.status_code == 200, told.text

    figures = await counted(tenant, len(searches) + 1)
    rows = await tenant.http.get("/api/admin/analytics/export", params={"days": 1})
    lines = await tenant.http.get("/api/admin/analytics/export", params={"days": 1, "format": "ndjson"})

    assert rows.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(rows.text, newline="")))
    objects = [json.loads(line) for line in lines.text.splitlines()]
    assert len(table) == len(objects) == figures.total_searches == len(searches) + 1
    assert [row["query_id"] for row in table] == [each["query_id"] for each in objects]
    assert sum(int(row["results"]) for row in table) == sum(each["results"] for each in objects)
    assert sum(int(row["clicks"]) for row in table) == sum(each["clicks"] for each in objects) == 1
    assert [each["query"] for each in objects] == [*searches, "notice of three months"]
    # No cell is a formula; nothing but the apostrophe is changed.
    for row, each in zip(table, objects, strict=True):
        risky = each["query"].startswith(("=", "+", "-", "@", "\t"))
        assert row["query"] == ("'" if risky else "") + each["query"]
    assert answer.query_id != found.query_id


async def kill(platform: Platform, after_seconds: float, before: int | None) -> int:
    """Kill the service in the middle of its work, once it runs again after that of pid `before`; return its
    pid."""

    async def running() -> psutil.Process | None:
        try:
            process = platform.process("analytics")
        except AssertionError:
            return None
        return process if process.pid != before else None

    process = await until(running, 30, "the service runs")
    await asyncio.sleep(after_seconds)
    process.kill()
    return process.pid


@pytest.mark.parametrize(
    ("searches", "kills"),
    [(2_000, 2), pytest.param(100_000, 5, marks=[pytest.mark.full, pytest.mark.timeout(900)])],
)
async def test_a_service_that_is_killed_while_it_takes_searches_counts_each_once(
    platform: Platform, tenant: Tenant, searches: int, kills: int
) -> None:
    now = datetime.now(UTC)
    made = world(searches, [tenant.id], now - timedelta(days=10), 9, searches)
    model = Model(made)
    selection = Selection(tenant_id=tenant.id, start=now - timedelta(days=15), end=now)
    expected = model.figures(model.within(selection))
    wanted = expected.total_searches + len(model.within(selection, collapsed=True))
    messages = made.messages(100)
    chance = random.Random(searches)
    killed_before = [chance.randrange(len(messages)) for _ in range(kills)]
    pid = None
    async with platform.bus() as bus:
        stream = bus.jetstream(timeout=30)
        for number, message in enumerate(messages):
            for _ in range(killed_before.count(number)):
                pid = await kill(platform, chance.random(), pid)
            await stream.publish(message.subject, message.body)

    figures = await counted(tenant, wanted)

    await asyncio.sleep(3)  # what is taken twice would be counted by now
    figures = await counted(tenant, wanted)
    assert figures.total_searches == expected.total_searches
    assert figures.unique_queries == expected.unique_queries
    assert figures.unique_users == expected.unique_users
    assert figures.clicks == expected.clicks
