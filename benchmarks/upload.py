"""How much memory a large upload costs the gateway."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import psutil
from benchmarks.figures import Figure, Figures
from benchmarks.usage import resident_bytes
from tests.platform import Platform, Tenant

SIZE_BYTES = 100 * 1000 * 1000
MEGABYTE = 1_000_000
LINE = b"The keeper of the lighthouse wrote the weather down. "
SAMPLE_SECONDS = 0.01
IDLE_SECONDS = 2.0
TARGET_MEGABYTES = 60.0


async def measure(platform: Platform, tell: Callable[[str], None]) -> Figures:
    """Upload a file of 100 MB and watch the gateway."""
    tell("memory: an upload of 100 MB")
    file = platform.layout.var / "upload.txt"
    await asyncio.to_thread(_write, file)
    gateway = platform.process("gateway")
    async with platform.tenant() as tenant:
        await tenant.put("warm-up", "A small document.")
        idle = await _peak(gateway, asyncio.sleep(IDLE_SECONDS))
        begun = time.perf_counter()
        peak = await _peak(gateway, _upload(tenant, file))
        seconds = time.perf_counter() - begun
    file.unlink()
    figures = [
        Figure("gateway before, RSS", idle / MEGABYTE, "MB"),
        Figure("gateway's peak above that", (peak - idle) / MEGABYTE, "MB", TARGET_MEGABYTES),
        Figure("upload", SIZE_BYTES / MEGABYTE / seconds, "MB/s"),
    ]
    return Figures("An upload of 100 MB", figures, load_average=os.getloadavg()[0])


async def _upload(tenant: Tenant, file: Path) -> None:
    accepted = await tenant.client.put_file("large", file)
    # What becomes of it is another measurement's.
    (await tenant.http.post(f"/api/jobs/{accepted.job_id}/cancel")).raise_for_status()


async def _peak(process: psutil.Process, work: Coroutine[object, object, None]) -> int:
    """Return the most bytes that a process and its children had resident while `work` went on."""
    task = asyncio.create_task(work)
    most = 0
    while not task.done():
        most = max(most, resident_bytes(process))
        await asyncio.sleep(SAMPLE_SECONDS)
    await task
    return most


def _write(file: Path) -> None:
    with file.open("wb") as output:
        for _ in range(SIZE_BYTES // (len(LINE) * 1000)):
            output.write(LINE * 1000)
