"""How fast events are delivered as endpoints become many, and with a long log of attempts."""

import asyncio
import base64
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.usage import Meter
from nats.aio.client import Client as Bus
from tests.platform import Platform

from quarry_common.contracts.events import CollectionDeleted, envelope, subject_of
from quarry_common.ids import new_id
from quarry_local.ports import free_port
from quarry_webhooks.sealing import Sealer, parse_keys
from quarry_webhooks.signing import generate_secret

SIZES = (10, 1_000, 10_000)
TENANTS = {10: 2, 1_000: 50, 10_000: 500}
"""How many tenants the endpoints of a size are spread over, evenly."""
DELIVERIES = 20_000
"""How many are measured at each size: so many events that all endpoints together get them."""
ATTEMPTS = 1_000_000
"""Those in the log beside the greatest size."""
PROBES = 100
PROBE_PAUSE_SECONDS = 0.05
MOST_P95_MS = 300.0
HEALTHY = 20
HANGING_ROUNDS = 3
BACKLOG = 200
MOST_SLOWER = 1.2
DEADLINE_SECONDS = 300.0
KEY = base64.b64encode(bytes(range(32))).decode()
SETTINGS = {
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ENCRYPTION_KEYS": KEY,
}
Tell = Callable[[str], None]
Database = asyncpg.Connection

_OLD = """
WITH made AS (
    INSERT INTO webhooks.deliveries (id, tenant_id, endpoint_id, message_id, event_type, subject, position,
        state, attempts, delivered_at, last_outcome, last_status, created_at)
    SELECT gen_random_uuid(), tenant_id, id, gen_random_uuid(), 'collection.deleted', 'old', number,
        'delivered', 1, now() - interval '1 day', 'delivered', 204, now() - interval '1 day'
    FROM webhooks.endpoints, generate_series(1, $1) number
    RETURNING id, tenant_id
)
INSERT INTO webhooks.attempts (delivery_id, number, tenant_id, started_at, duration_ms, outcome, status,
    detail, url, request_headers, response_headers, response_excerpt)
SELECT id, 1, tenant_id, now() - interval '1 day', 12, 'delivered', 204,
    '', 'http://127.0.0.1/hooks', '{}', '{}', ''
FROM made
"""


async def measure(platform: Platform, tell: Tell) -> Figures:
    """Deliver to ever more endpoints of one fast receiver, on the same two cores."""
    found: list[Figure] = []
    with receiver() as port:
        async with platform.tenant() as probe, platform.bus() as bus, platform.database() as database:
            url = f"http://127.0.0.1:{port}/hooks"
            await add_endpoints(database, [probe.id], 1, url)
            tell("webhooks: healthy endpoints beside one that hangs")
            figures, samples = await beside_a_hanging_one(database, bus, port)
            found += figures
            tenants: list[UUID] = []
            for size in SIZES:
                tell(f"webhooks: {size} endpoints")
                tenants += [uuid4() for _ in range(TENANTS[size] - len(tenants))]
                await database.execute("DELETE FROM webhooks.endpoints WHERE tenant_id = ANY($1)", tenants)
                await add_endpoints(database, tenants, size // len(tenants), url)
                if size == max(SIZES):
                    tell(f"webhooks: {ATTEMPTS} attempts in the log")
                    await database.execute(_OLD, ATTEMPTS // (size + 1), timeout=900)
                    await database.execute(
                        "VACUUM (ANALYZE) webhooks.deliveries, webhooks.attempts", timeout=900
                    )
                label = f"{size:,} endpoints" + (
                    f", {ATTEMPTS:,} attempts in the log" if size == max(SIZES) else ""
                )
                waits = await latencies(bus, [probe.id], PROBES, port)
                samples[label] = waits
                found += [
                    Figure(f"{label}: to the socket, p50", percentile(waits, 0.5), "ms"),
                    Figure(f"{label}: to the socket, p95", percentile(waits, 0.95), "ms", MOST_P95_MS),
                ]
                found += await throughput(platform, bus, tenants, size, port, label)
    return Figures("webhooks", found, samples)


@contextmanager
def receiver() -> Iterator[int]:
    """Run a receiver in a process of its own; yield its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.receiver", str(port)])
    try:
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/count", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


async def came(port: int) -> int:
    """Return how many deliveries have come to the receiver."""
    async with httpx.AsyncClient(timeout=30) as client:
        return int((await client.get(f"http://127.0.0.1:{port}/count")).text)


async def until_came(port: int, count: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await came(port) < count:  # noqa: ASYNC110 - the receiver is another process
            await asyncio.sleep(0.1)


async def add_endpoints(database: Database, tenants: Sequence[UUID], each: int, url: str) -> None:
    """Give every tenant `each` endpoints that want everything."""
    sealer = Sealer(parse_keys(KEY))
    rows = []
    for tenant_id in tenants:
        for _ in range(each):
            endpoint_id = new_id()
            secret = sealer.close(tenant_id, endpoint_id, generate_secret().encode())
            headers = sealer.close(tenant_id, endpoint_id, b"{}")
            rows.append((endpoint_id, tenant_id, url, headers, secret))
    await database.executemany(
        """
        INSERT INTO webhooks.endpoints (id, tenant_id, url, description, event_types, header_names, headers,
            secret, enabled, ordered)
        VALUES ($1, $2, $3, '', '{*}', '{}', $4, $5, true, false)
        """,
        rows,
    )
    await database.executemany(
        "INSERT INTO webhooks.queues (endpoint_id, tenant_id) VALUES ($1, $2)", [row[:2] for row in rows]
    )
    await database.execute("ANALYZE webhooks.endpoints, webhooks.queues")


async def publish(bus: Bus, tenant_id: UUID) -> str:
    event = envelope(CollectionDeleted("measured", 1), source="bench", tenant_id=tenant_id)
    await bus.jetstream(timeout=30).publish(subject_of(event), msgspec.json.encode(event))
    return event.id


async def beside_a_hanging_one(
    database: Database, bus: Bus, port: int
) -> tuple[list[Figure], dict[str, list[float]]]:
    """Deliver to healthy endpoints, by turns alone and beside one that never answers and has a backlog."""
    healthy, hanging = [uuid4() for _ in range(HEALTHY)], uuid4()
    await add_endpoints(database, healthy, 1, f"http://127.0.0.1:{port}/hooks")
    times: dict[str, list[float]] = {"alone": [], "beside": []}
    for _ in range(HANGING_ROUNDS):
        times["alone"] += await latencies(bus, healthy, HEALTHY * 5, port)
        await add_endpoints(database, [hanging], 1, f"http://127.0.0.1:{port}/never")
        for _ in range(BACKLOG):
            await publish(bus, hanging)
        times["beside"] += await latencies(bus, healthy, HEALTHY * 5, port)
        await database.execute("DELETE FROM webhooks.endpoints WHERE tenant_id = $1", hanging)
    await database.execute("DELETE FROM webhooks.endpoints WHERE tenant_id = ANY($1)", healthy)
    alone, beside = (percentile(each, 0.95) for each in times.values())
    label = f"{HEALTHY} healthy endpoints, to the socket, p95"
    return [
        Figure(f"{label}: alone", alone, "ms"),
        Figure(f"{label}: beside one that hangs", beside, "ms"),
        Figure(f"{label}: ratio", beside / alone, "", MOST_SLOWER),
    ], {f"{HEALTHY} healthy, {name}": each for name, each in times.items()}


async def latencies(bus: Bus, tenants: Sequence[UUID], count: int, port: int) -> list[float]:
    """Return the times in ms from before an event is published to its coming to the receiver; each of the
    tenants has one endpoint there, and they take turns."""
    sent: dict[str, float] = {}
    wanted = await came(port) + count
    for number in range(count):
        before = time.time()
        sent[await publish(bus, tenants[number % len(tenants)])] = before
        await asyncio.sleep(PROBE_PAUSE_SECONDS)
    await until_came(port, wanted)
    async with httpx.AsyncClient(timeout=30) as client:
        first = (await client.get(f"http://127.0.0.1:{port}/first")).json()
    return [(first[event] - moment) * 1_000 for event, moment in sent.items()]


async def throughput(
    platform: Platform, bus: Bus, tenants: Sequence[UUID], size: int, port: int, label: str
) -> list[Figure]:
    """Publish events of every tenant and count what comes until all have come."""
    events = DELIVERIES // size * len(tenants)
    wanted = await came(port) + DELIVERIES // size * size
    meter = Meter(platform.state)
    begun = time.monotonic()
    slots = asyncio.Semaphore(64)

    async def send(tenant_id: UUID) -> None:
        async with slots:
            await publish(bus, tenant_id)

    async with asyncio.TaskGroup() as group:
        for number in range(events):
            group.create_task(send(tenants[number % len(tenants)]))
    await until_came(port, wanted)
    seconds, cpu = time.monotonic() - begun, meter.seconds()
    count = DELIVERIES // size * size
    return [
        Figure(f"{label}: delivered", count / seconds, "deliveries/s"),
        Figure(f"{label}: CPU of a delivery, service", cpu["webhooks"] / count * 1e3, "ms"),
        Figure(f"{label}: CPU of a delivery, Postgres", cpu["postgres"] / count * 1e3, "ms"),
    ]
