"""Searches of one tenant beside an import of another."""

import asyncio
from typing import Final

from benchmarks.documents import in_batches, open_jobs, short
from benchmarks.figures import Figure, Figures
from benchmarks.load import Sender, Tell
from benchmarks.texts import Writer
from tests.platform import Platform

IDLE_SECONDS: Final = 10
BESIDE_SECONDS: Final = 40
TARGET: Final = 3.0


async def measure(platform: Platform, sender: Sender, documents: int, tell: Tell) -> Figures:
    """Send searches with one client before and during the import of `documents`."""
    tell(f"search: beside an import of {documents} documents")
    writer = Writer(seed=6)
    texts = [short(writer, f"import-{number}") for number in range(documents)]
    idle = await asyncio.to_thread(sender.send, 1, IDLE_SECONDS)
    async with platform.tenant() as large:
        importing = asyncio.create_task(in_batches(large.http, texts))
        beside = await asyncio.to_thread(sender.send, 1, BESIDE_SECONDS)
        await importing
        if not await open_jobs(large):
            raise RuntimeError("the import was over before the searches were; import more documents")
    return Figures(
        f"Searches beside an import of {documents} documents, 1 client",
        [
            Figure("p50 idle", idle.load.p50_ms, "ms"),
            Figure("p95 idle", idle.load.p95_ms, "ms"),
            Figure("p50 beside the import", beside.load.p50_ms, "ms"),
            Figure("p95 beside the import", beside.load.p95_ms, "ms"),
            Figure("p95 beside / idle", beside.load.p95_ms / idle.load.p95_ms, "", TARGET),
        ],
        load_average=beside.load_average,
    )
