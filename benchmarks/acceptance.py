"""How fast documents are accepted: one at a time by several senders, and a hundred at a time. What is
accepted is indexed meanwhile, as in a platform that is used."""

import asyncio
import os
import time
from collections.abc import Callable

from benchmarks.documents import BATCH, SENDERS, Text, imported, post, post_batch, short
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.texts import Writer
from tests.platform import Platform, Tenant

BATCH_SENDERS = 2


async def measure(platform: Platform, documents: int, tell: Callable[[str], None]) -> Figures:
    """Send `documents` short documents one by one, then as many in batches."""
    writer = Writer(seed=3)
    one_by_one = [short(writer, f"one-{number}") for number in range(documents)]
    together = [short(writer, f"together-{number}") for number in range(documents)]
    async with platform.tenant() as tenant, imported(tenant, []):
        tell(f"acceptance: {documents} documents, {SENDERS} senders")
        single, single_seconds = await _one_by_one(tenant, one_by_one)
        tell(f"acceptance: {documents} documents in batches of {BATCH}")
        batches, batch_seconds = await _together(tenant, together)
    figures = [
        Figure(f"one by one, {SENDERS} senders", documents / single_seconds, "documents/s"),
        Figure("one by one, p50", percentile(single, 0.5) * 1000, "ms"),
        Figure("one by one, p95", percentile(single, 0.95) * 1000, "ms"),
        Figure(f"batches of {BATCH}, {BATCH_SENDERS} senders", documents / batch_seconds, "documents/s"),
        Figure(f"batches of {BATCH}, p50", percentile(batches, 0.5) * 1000, "ms"),
        Figure(f"batches of {BATCH}, p95", percentile(batches, 0.95) * 1000, "ms"),
    ]
    samples = {"one by one, s": single, "batches, s": batches}
    return Figures("Acceptance, while what was accepted is indexed", figures, samples, os.getloadavg()[0])


async def _one_by_one(tenant: Tenant, texts: list[Text]) -> tuple[list[float], float]:
    left, took = iter(texts), list[float]()

    async def sender() -> None:
        for text in left:
            begun = time.perf_counter()
            await post(tenant.http, text)
            took.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return took, time.perf_counter() - started


async def _together(tenant: Tenant, texts: list[Text]) -> tuple[list[float], float]:
    left = iter([texts[start : start + BATCH] for start in range(0, len(texts), BATCH)])
    took: list[float] = []

    async def sender() -> None:
        for part in left:
            begun = time.perf_counter()
            await post_batch(tenant.http, part)
            took.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(BATCH_SENDERS)))
    return took, time.perf_counter() - started
