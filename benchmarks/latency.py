"""From acceptance to searchable, on a platform with nothing else to do."""

import asyncio
import os
import time
from collections.abc import Callable

from benchmarks.documents import Text, found, post, succeeded
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.texts import Writer
from tests.platform import Platform

DOCUMENT_BYTES = 10_000
WORDS = 2_000
DEADLINE_SECONDS = 60.0
PAUSE_SECONDS = 0.5
TARGET_SECONDS = 2.0


async def measure(platform: Platform, documents: int, tell: Callable[[str], None]) -> Figures:
    """Send documents of 10 KB, each when the one before is found."""
    writer = Writer(seed=4)
    accepted, searchable = [], []
    tell(f"latency: {documents} documents of 10 KB, one after the other")
    async with platform.tenant() as tenant:
        for number in range(documents + 1):
            topic = writer.topic()
            content = writer.text(topic, WORDS)[:DOCUMENT_BYTES]
            text = Text(f"latency-{number}", f"Document {number}", content)
            begun = time.perf_counter()
            job_id = await post(tenant.http, text)
            answered = time.perf_counter()
            done = await succeeded(tenant.http, job_id, DEADLINE_SECONDS)
            if not await found(tenant.http, text):
                raise RuntimeError("a document whose job has succeeded is not found")
            if number:  # the first meets caches that are still empty
                accepted.append(answered - begun)
                searchable.append(done - answered)
            await asyncio.sleep(PAUSE_SECONDS)
    figures = [
        Figure("until accepted, p50", percentile(accepted, 0.5) * 1000, "ms"),
        Figure("from accepted to searchable, p50", percentile(searchable, 0.5), "s"),
        Figure("from accepted to searchable, p95", percentile(searchable, 0.95), "s", TARGET_SECONDS),
    ]
    samples = {"until accepted, s": accepted, "from accepted to searchable, s": searchable}
    return Figures(f"A document of 10 KB, {documents} times", figures, samples, os.getloadavg()[0])
