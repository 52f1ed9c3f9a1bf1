"""What it costs to know who asks and to hold them to their limits: the same request with and without."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import msgspec
import psutil
from benchmarks.figures import Figure, Figures
from benchmarks.load import SCRIPT, Load, wrk
from redis import Redis
from tests.platform import Platform, Tenant

from quarry_local.ports import free_port
from quarry_local.servers.wire import http_ready
from quarry_local.testing import running

ROUNDS = 5
ROUND_SECONDS = 4
CLIENTS = 8
MOST_CPU_MS = 0.4
PLENTY = 100_000_000
"""Of everything that is limited: it is counted, and nothing is refused."""
BODY = b'{"query": "heron by the river", "mode": "keyword"}'


async def measure(platform: Platform, tell: Callable[[str], None]) -> Figures:
    """Send a search that is answered from the cache to a gateway, and to one without doors, by turns."""
    program = wrk(tell)
    async with platform.tenant() as tenant, platform.http(platform.operator_key) as operator:
        quotas = {"requests_per_second": 1_000_000, "burst": PLENTY, "searches_per_day": PLENTY}
        answer = await operator.patch(f"/api/admin/tenants/{tenant.slug}", json={"quotas": quotas})
        answer.raise_for_status()
        await tenant.put("one", "A heron by the river.")
        return await asyncio.to_thread(_by_turns, platform, tenant, program, tell)


def _by_turns(platform: Platform, tenant: Tenant, program: Path, tell: Callable[[str], None]) -> Figures:
    closed, opened, evaluated, committed = [], [], [], []
    redis = Redis.from_url(platform.plan.shared["REDIS_URL"])
    with _open_gateway(platform, tenant) as (url, process):
        gateway = platform.process("gateway")
        file = platform.layout.var / "access.txt"
        file.write_bytes(tenant.key.encode() + b"\t" + BODY)
        file.chmod(0o600)
        _send(program, platform.url, file, 1)
        _send(program, url, file, 1)
        for number in range(ROUNDS):
            tell(f"access: round {number + 1} of {ROUNDS}")
            before, rows = _evaluations(redis), _transactions(platform)
            load, cpu = _measured(gateway, lambda: _send(program, platform.url, file, ROUND_SECONDS))
            closed.append(cpu)
            evaluated.append((_evaluations(redis) - before) / load.requests)
            committed.append((_transactions(platform) - rows) / load.requests)
            _, cpu = _measured(process, lambda: _send(program, url, file, ROUND_SECONDS))
            opened.append(cpu)
    redis.close()
    figures = [
        Figure("CPU of a request at the gateway", median(closed), "ms"),
        Figure("the same without doors", median(opened), "ms"),
        Figure("authentication, limits and quota", median(closed) - median(opened), "ms", MOST_CPU_MS),
        Figure("rate-limit scripts in Redis of a request", median(evaluated), "", 1),
        Figure("transactions in Postgres of 1,000 requests", median(committed) * 1000, ""),
    ]
    samples = {"with, ms": closed, "without, ms": opened}
    return Figures("Who asks, and how often", figures, samples, os.getloadavg()[0])


@contextmanager
def _open_gateway(platform: Platform, tenant: Tenant) -> Iterator[tuple[str, psutil.Process]]:
    http_port, ops_port = free_port(), free_port()
    usual, url = platform.program("gateway"), f"http://127.0.0.1:{http_port}"
    program = replace(
        usual,
        name="gateway-open",
        argv=(sys.executable, "-m", "benchmarks.open_gateway"),
        port=ops_port,
        environ={
            **usual.environ,
            "OPS_PORT": str(ops_port),
            "HTTP_PORT": str(http_port),
            "OPEN_TENANT": str(tenant.id),
        },
        ready=lambda: http_ready(f"{url}/readyz"),
    )
    with running(program, platform.layout.log("gateway-open")) as process:
        yield url, process


def _send(program: Path, url: str, file: Path, seconds: int) -> Load:
    command = [str(program), "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT)]
    done = subprocess.run(
        [*command, f"{url}/api/search", "--", str(file), "0"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    load = msgspec.json.decode(done.stderr.strip().splitlines()[-1], type=Load)
    if load.refused or load.broken or not load.requests:
        raise RuntimeError(f"not every search was answered: {load}")
    return load


def _measured(process: psutil.Process, send: Callable[[], Load]) -> tuple[Load, float]:
    before = process.cpu_times()
    load = send()
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return load, used / load.requests * 1000


def _evaluations(redis: Redis) -> int:
    told = redis.info("commandstats")
    return sum(int(told.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))


def _transactions(platform: Platform) -> int:
    async def count() -> int:
        async with platform.database() as database:
            found: int = await database.fetchval(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            )
            return found

    return asyncio.run(count())
