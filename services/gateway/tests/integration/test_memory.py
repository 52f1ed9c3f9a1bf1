"""Memory stays flat however large an upload is: measured on a gateway in a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import psutil

from quarry_common.ops import free_port

MIB = 1 << 20
FILE_MIB = 100
PROGRAM = """
import sys
from quarry_common.service import run
from quarry_gateway.service import definition
sys.exit(run(definition))
"""


@asynccontextmanager
async def gateway_process(nats_url: str, folder: Path) -> AsyncIterator[tuple[str, psutil.Process]]:
    port = free_port("127.0.0.1")
    environment = {
        **os.environ, "NATS_URL": nats_url, "BLOB_URL": f"file:{folder}", "HTTP_PORT": str(port),
        "LOG_LEVEL": "ERROR",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient() as probe, asyncio.timeout(30):
            while True:
                try:
                    await probe.get(f"{url}/livez")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def form(mib: int) -> AsyncIterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    for _ in range(mib * 16):
        yield os.urandom(65_536)
    yield b"\r\n--b--"


async def test_an_upload_of_100_mib_leaves_memory_flat(backend, nats_url, tmp_path) -> None:
    headers = {"X-API-Key": backend.key(), "Content-Type": "multipart/form-data; boundary=b"}
    async with gateway_process(nats_url, tmp_path) as (url, process), httpx.AsyncClient(timeout=60) as client:
        await client.post(f"{url}/api/documents", content=form(1), headers=headers)
        before = process.memory_info().rss
        peak = before

        sending = asyncio.create_task(
            client.post(f"{url}/api/documents", content=form(FILE_MIB), headers=headers)
        )
        while not sending.done():
            peak = max(peak, process.memory_info().rss)
            await asyncio.wait([sending], timeout=0.02)

    assert sending.result().status_code == 202
    assert backend.accepted[-1].blob.size_bytes == FILE_MIB * MIB
    print(f"growth of resident memory: {(peak - before) / MIB:.1f} MiB")
    assert peak - before < 60 * MIB


async def test_a_text_of_100_mib_that_is_read_leaves_memory_flat(backend, nats_url, tmp_path) -> None:
    headers = {"X-API-Key": backend.key()}
    folder = f"tenants/{backend.acme.id}"
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "large.txt").write_bytes(b"A line of text.\n" * (FILE_MIB * MIB // 16))
    async with (
        gateway_process(nats_url, tmp_path) as (url, process),
        httpx.AsyncClient(timeout=60, headers=headers) as client,
    ):
        made = (await client.post(f"{url}/api/documents", json={"title": "x"})).json()["document_id"]
        backend.contents[UUID(made)] = f"{folder}/large.txt"
        peak = before = process.memory_info().rss
        size_bytes = 0

        async with client.stream("GET", f"{url}/api/documents/{made}/content") as answer:
            async for piece in answer.aiter_bytes():
                size_bytes += len(piece)
                peak = max(peak, process.memory_info().rss)

    assert (answer.status_code, size_bytes) == (200, FILE_MIB * MIB)
    print(f"growth of resident memory: {(peak - before) / MIB:.1f} MiB")
    assert peak - before < 60 * MIB
