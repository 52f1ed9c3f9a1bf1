"""Queries of the vector engine while it optimises its index and puts the new one in the place of the old."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import httpx
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.filling import Filler, dense_leg
from benchmarks.load import Tell
from tests.platform import Platform

IDLE_SECONDS: Final = 15.0
EVERY_SECONDS: Final = 0.003
OPTIMISE_SECONDS: Final = 900.0
LONGEST_MS: Final = 100.0


async def measure(platform: Platform, tenants: Sequence[UUID], filler: Filler, tell: Tell) -> Figures:
    """Query every few milliseconds, first beside nothing, then through a whole optimisation."""
    tell("search: beside an optimisation of the index")
    url = f"{platform.plan.shared['QDRANT_URL']}/collections/{filler.collection}"
    legs = [
        dense_leg(vector.tolist(), tenants[number % len(tenants)])
        for number, vector in enumerate(filler.likely())
    ]
    async with httpx.AsyncClient(base_url=url, timeout=OPTIMISE_SECONDS, trust_env=False) as client:
        idle = await _waits(client, legs, asyncio.create_task(asyncio.sleep(IDLE_SECONDS)))
        run = asyncio.create_task(client.post("/optimize"))
        beside = await _waits(client, legs, run)
        report = (await run).raise_for_status().json()["result"]
    if report["result"] != "done":
        raise RuntimeError(f"the optimisation was given up: {report['result']}")
    return Figures(
        "Queries of the vector engine beside an optimisation",
        [
            *_figures("beside nothing", idle),
            *_figures("beside the optimisation", beside, LONGEST_MS),
            Figure("the optimisation took", report["seconds"], "s"),
            Figure("writes waited for the copy", report["copy_seconds"] * 1000, "ms"),
            Figure("the copy was opened, by another process, in", report["open_seconds"] * 1000, "ms"),
            Figure("writes waited for the swap", report["swap_seconds"] * 1000, "ms"),
        ],
        samples={"beside nothing": idle, "beside the optimisation": beside},
    )


async def _waits(
    client: httpx.AsyncClient, legs: Sequence[dict[str, object]], ending: asyncio.Future[object]
) -> list[float]:
    """Return how many milliseconds each query took until `ending` was done."""
    waits: list[float] = []
    while not ending.done():
        begun = time.perf_counter()
        answer = await client.post("/points/query", json=legs[len(waits) % len(legs)])
        answer.raise_for_status()
        waits.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(EVERY_SECONDS)
    return waits


def _figures(when: str, waits: list[float], longest: float | None = None) -> list[Figure]:
    return [
        Figure(f"p50 {when}", percentile(waits, 0.5), "ms"),
        Figure(f"p99 {when}", percentile(waits, 0.99), "ms"),
        Figure(f"longest {when}, of {len(waits):,}", max(waits), "ms", longest),
    ]
