"""One tenant imports; another sends a document now and then and waits for it."""

import asyncio
import os
import time
from collections.abc import Callable

from benchmarks.documents import in_batches, open_jobs, post, short, succeeded
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.texts import Writer
from tests.platform import Platform, Tenant

EVERY_SECONDS = 2.0
DEADLINE_SECONDS = 900.0
TARGET_SECONDS = 5.0


async def measure(platform: Platform, documents: int, fair: bool, tell: Callable[[str], None]) -> Figures:
    """Measure how long a small tenant waits beside an import of `documents`; `fair` says what to call it."""
    writer = Writer(seed=5)
    name = "with fair places" if fair else "without fairness"
    tell(f"fairness: {documents} documents of one tenant, one every {EVERY_SECONDS:g} s of another, {name}")
    texts = [short(writer, f"import-{number}") for number in range(documents)]
    async with platform.tenant() as large, platform.tenant() as small:
        await succeeded(small.http, await post(small.http, short(writer, "first")), DEADLINE_SECONDS)
        begun = time.perf_counter()
        await in_batches(large.http, texts)
        accepted = time.perf_counter() - begun
        waits = await _beside(large, small, writer)
        seconds = time.perf_counter() - begun
    figures = [
        Figure("documents of the small tenant", len(waits), ""),
        Figure("searchable after, p50", percentile(waits, 0.5), "s"),
        Figure("searchable after, p95", percentile(waits, 0.95), "s", TARGET_SECONDS if fair else None),
        Figure("searchable after, at most", max(waits), "s"),
        Figure("the import: accepted after", accepted, "s"),
        Figure("the import: searchable after", seconds, "s"),
    ]
    title = f"A small tenant beside an import of {documents}, {name}"
    return Figures(title, figures, {"searchable after, s": waits}, os.getloadavg()[0])


async def _beside(large: Tenant, small: Tenant, writer: Writer) -> list[float]:
    """Return how long each document of the small tenant took, as long as the import lasts."""

    async def one(number: int) -> float:
        begun = time.perf_counter()
        job_id = await post(small.http, short(writer, f"small-{number}"))
        return await succeeded(small.http, job_id, DEADLINE_SECONDS) - begun

    sent: list[asyncio.Task[float]] = []
    async with asyncio.TaskGroup() as group:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await open_jobs(large):
                sent.append(group.create_task(one(len(sent))))
                await asyncio.sleep(EVERY_SECONDS)
    return [task.result() for task in sent]
