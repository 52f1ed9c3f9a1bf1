"""What recording searches costs, and how fast questions about them are answered as they become many."""

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import UUID

import httpx
from benchmarks.figures import Figure, Figures, percentile
from nats.js import JetStreamContext
from services.analytics.tests.searched import World
from tests.platform import Platform, running_platform

from quarry_common.contracts.streams import ANALYTICS_SEARCHES
from quarry_local.ports import free_port
from quarry_local.servers.wire import http_ready
from quarry_local.testing import running

TENANTS = 20
DAYS = 90
TAKEN = 100_000
"""Searches that are sent through the stream, to see what taking them in costs."""
SIZES = (1_000_000, 5_000_000)
ASKED = 30
WARMING = 3
"""Asked before, and not counted: the tables were filled and vacuumed just now."""
MOST_P95_MS = 100.0
QUERIES = 20_000
PLACES = ("popular", "timeseries", "stats", "no-results", "low-confidence", "trending", "export")
"""What is asked about 90 days; of the export the first page is read."""

_FILL = """
INSERT INTO analytics.searches (tenant_id, query_id, occurred_at, query, query_hash, mode, collection,
filtered, continued, low_confidence, total, results, top_score, similarity, duration_ms, cache, key_id,
user_id, client_id, trace_id)
SELECT tenant_id, (lpad(to_hex((extract(epoch FROM occurred_at) * 1000)::bigint), 12, '0') || '7'
        || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
    occurred_at, 'query number ' || rank, rank,
    (ARRAY['hybrid', 'hybrid', 'semantic', 'keyword'])[1 + floor(random() * 4)::int], '', false, false,
    random() < 0.1, floor(random() * 40)::int, ARRAY[gen_random_uuid(), gen_random_uuid()], random(),
    random(),
    5 + 20 * random(), 'miss', NULL, 'user-' || floor(random() * 2000)::int, NULL, ''
FROM (
    SELECT ($1::uuid[])[1 + floor(random() * cardinality($1::uuid[]))::int] AS tenant_id,
        date_trunc('milliseconds', $2::timestamptz + random() * ($3::timestamptz - $2::timestamptz)) AS
        occurred_at, floor($5 ^ random())::bigint AS rank
    FROM generate_series(1, $4)
) made
"""


async def measure(platform: Platform, tell: Callable[[str], None]) -> Figures:
    """Send searches through the stream, then fill the tables to each size and ask."""
    async with platform.tenant() as asked, platform.bus() as bus:
        tenants = [asked.id, *(UUID(int=random.getrandbits(128)) for _ in range(TENANTS - 1))]
        found: list[Figure] = []
        tell(f"analytics: {TAKEN} searches through the stream")
        found += await _taken(platform, bus.jetstream(), tenants)
        for size in SIZES:
            tell(f"analytics: filling up to {size} searches")
            found += await _filled(platform, tenants, size)
            async with platform.http(asked.key) as client:
                for place in PLACES:
                    tell(f"analytics: {place} of {size}")
                    found.append(await _asked(client, place, size))
    return Figures("analytics", found)


async def _taken(platform: Platform, stream: JetStreamContext, tenants: Sequence[UUID]) -> list[Figure]:
    world = World(random.Random(1))
    now = datetime.now(UTC)
    for number in range(TAKEN):
        moment = now - timedelta(milliseconds=number * 20)
        world.search(
            world.rng.choice(tenants), moment, f"query {world.rng.randrange(2_000)}", continued=False
        )
    messages = world.messages(100)
    process = platform.process("analytics")
    before = process.cpu_times()
    begun = time.monotonic()
    slots = asyncio.Semaphore(64)

    async def send(subject: str, body: bytes) -> None:
        async with slots:
            await stream.publish(subject, body, timeout=30)

    async with asyncio.TaskGroup() as group:
        for message in messages:
            group.create_task(send(message.subject, message.body))
    async with asyncio.timeout(300):
        while True:
            info = await stream.consumer_info(ANALYTICS_SEARCHES.stream, ANALYTICS_SEARCHES.name)
            if not info.num_pending and not info.num_ack_pending:
                break
            await asyncio.sleep(0.05)
    seconds = time.monotonic() - begun
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return [
        Figure("taken in", TAKEN / seconds, "searches/s"),
        Figure("CPU of a search taken in", used / TAKEN * 1e6, "µs"),
    ]


async def _filled(platform: Platform, tenants: Sequence[UUID], size: int) -> list[Figure]:
    end = datetime.now(UTC) - timedelta(hours=1)
    start = end - timedelta(days=DAYS - 1)
    async with platform.database() as database:
        for number in range(DAYS + 1):
            await database.execute("SELECT analytics.add_day($1)", (start + timedelta(days=number)).date())
        known = await database.fetchval("SELECT count(*) FROM analytics.searches")
        step = 250_000
        while known < size:
            more = min(step, size - known)
            await database.execute(_FILL, list(tenants), start, end, more, float(QUERIES), timeout=600)
            known += more
        await database.execute(
            """
            INSERT INTO analytics.dirty_days (tenant_id, day)
            SELECT DISTINCT tenant_id, (occurred_at AT TIME ZONE 'UTC')::date FROM analytics.searches
            ON CONFLICT (tenant_id, day) DO UPDATE SET marks = dirty_days.marks + 1
            """,
            timeout=600,
        )
        begun = time.monotonic()
        async with asyncio.timeout(3_000):
            while await database.fetchval("SELECT count(*) FROM analytics.dirty_days"):  # noqa: ASYNC110
                await asyncio.sleep(1)
        seconds = time.monotonic() - begun
        await database.execute(
            "VACUUM (ANALYZE) analytics.searches, analytics.spans, analytics.query_days", timeout=600
        )
        # What was filled in minutes comes in months: nobody asks while gigabytes are written to the disk.
        await database.execute("CHECKPOINT", timeout=600)
        await asyncio.to_thread(os.sync)
        sizes = await database.fetchrow(
            """
            SELECT sum(pg_total_relation_size(inhrelid)) AS raw,
                pg_total_relation_size('analytics.spans') + pg_total_relation_size('analytics.query_days')
                AS made
            FROM pg_inherits WHERE inhparent IN ('analytics.searches'::regclass)
            """
        )
    assert sizes is not None
    return [
        Figure(f"rolled up, {size:,} searches", size / seconds, "searches/s"),
        Figure(f"bytes of a search, {size:,}", float(sizes["raw"]) / size, "bytes"),
        Figure(f"and of its rollups, {size:,}", float(sizes["made"]) / size, "bytes"),
    ]


async def _asked(client: httpx.AsyncClient, place: str, size: int) -> Figure:
    times: list[float] = []
    for _ in range(WARMING + (ASKED if place != "export" else 5)):
        begun = time.perf_counter()
        params = {"hours": 24} if place == "trending" else {"days": DAYS}
        async with client.stream("GET", f"/api/admin/analytics/{place}", params=params) as answer:
            answer.raise_for_status()
            async for _piece in answer.aiter_bytes():
                if place == "export":
                    break
            times.append((time.perf_counter() - begun) * 1000)
    times = times[WARMING:]
    p95 = percentile(times, 0.95)
    target = MOST_P95_MS if size == max(SIZES) and place in {"popular", "timeseries"} else None
    return Figure(f"{place} of 90 days, {size:,} searches: p50 {median(times):.1f}, p95", p95, "ms", target)


RECORDED_SEARCHES = 3_000
MOST_SLOWER = 1.03
SETTLED_SECONDS = 2.0
"""Without a further record, after which all are taken to be written."""
RECORDED_SECONDS = 60.0


def recording(settings: Mapping[str, str], tell: Callable[[str], None]) -> Figures:
    """Search on a platform with two search processes, of which one records: each search comes to either by
    chance, and is known by its record. Then once more with the parts changed, so that neither process is
    favoured."""
    times: dict[str, list[float]] = {"recorded": [], "not recorded": []}
    ratios = []
    for first in ("true", "false"):
        tell(f"recording: by the {'first' if first == 'true' else 'second'} of two search processes")
        with (
            running_platform({**settings, "ANALYTICS_ENABLED": first}) as platform,
            _second_search(platform, {"true": "false", "false": "true"}[first]),
        ):
            found = asyncio.run(_compared(platform))
        ratios.append(median(found["recorded"]) / median(found["not recorded"]))
        for name, each in found.items():
            times[name] += each
    return Figures(
        "recording",
        [
            Figure("search, not recorded, p50", median(times["not recorded"]), "ms"),
            Figure("search, recorded, p50", median(times["recorded"]), "ms"),
            Figure("ratio, recorded by the first process", ratios[0], ""),
            Figure("ratio, recorded by the second process", ratios[1], ""),
            Figure("ratio", math.sqrt(ratios[0] * ratios[1]), "", MOST_SLOWER),
        ],
        samples=times,
    )


@contextmanager
def _second_search(platform: Platform, analytics_enabled: str) -> Iterator[None]:
    usual, port = platform.program("search"), free_port()
    program = replace(
        usual,
        name="search-2",
        port=port,
        environ={**usual.environ, "OPS_PORT": str(port), "ANALYTICS_ENABLED": analytics_enabled},
        ready=lambda: http_ready(f"http://127.0.0.1:{port}/readyz"),
    )
    with running(program, platform.layout.log("search-2")):
        yield


async def _compared(platform: Platform) -> dict[str, list[float]]:
    """Return the times of searches in ms, by whether they were recorded."""
    taken: dict[UUID, float] = {}
    async with platform.tenant() as tenant:
        for number in range(50):
            await tenant.put(
                f"text-{number}", f"Text {number} of a heron by the river, and its {number} nests."
            )
        for number in range(200 + RECORDED_SEARCHES):
            begun = time.perf_counter()
            query = {"query": f"heron {number} by the river", "user_id": "anna", "client_id": "b"}
            answer = await tenant.http.post("/api/search", json=query)
            seconds = time.perf_counter() - begun
            answer.raise_for_status()
            if number >= 200:
                taken[UUID(answer.json()["query_id"])] = seconds * 1000
        recorded: set[UUID] = set()
        async with platform.database() as database, asyncio.timeout(RECORDED_SECONDS):
            while True:
                await asyncio.sleep(SETTLED_SECONDS)
                rows = await database.fetch(
                    "SELECT query_id FROM analytics.searches WHERE tenant_id = $1", tenant.id
                )
                if rows and len(rows) == len(recorded):
                    break
                recorded = {row["query_id"] for row in rows}
    recorded &= taken.keys()
    assert 0 < len(recorded) < len(taken), "one process has answered everything"
    return {
        "recorded": [taken[each] for each in recorded],
        "not recorded": [each for query, each in taken.items() if query not in recorded],
    }
