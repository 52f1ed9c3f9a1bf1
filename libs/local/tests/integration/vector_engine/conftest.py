"""A vector engine in a process of its own, and a real Qdrant when `QDRANT_TEST_URL` names one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from qdrant_client import AsyncQdrantClient

START_SECONDS = 30.0
STOP_SECONDS = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Engine:
    """A folder and the process that serves it."""

    path: Path
    port: int = field(default_factory=free_port)
    environ: dict[str, str] = field(default_factory=dict)
    module: str = "quarry_local.vector_engine"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.path.parent / f"{self.path.name}.log"

    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module, "--path", str(self.path), "--port", str(self.port)]

    def start(self) -> None:
        with self.log.open("ab") as log:
            environ = {**os.environ, **self.environ}
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=environ)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the engine did not start: {self.log.read_text()}")

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=1.0).status_code == 200
        except httpx.TransportError:
            assert self.process is not None
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def shards_of(engine: Engine) -> list[psutil.Process]:
    """Return the processes that hold shards."""
    assert engine.process is not None
    found = []
    for child in psutil.Process(engine.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # a child that is not waited for yet
            # Between fork and exec one still has the engine's command line.
            if "quarry_local.vector_engine.shards" in child.cmdline():
                found.append(child)
    return found


@contextmanager
def running(path: Path, **environ: str) -> Iterator[Engine]:
    engine = Engine(path, environ=environ)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("vector_engine") / "data") as engine:
        yield engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path / "data") as engine:
        yield engine


@pytest.fixture(scope="session", params=["embedded", "qdrant"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncQdrantClient]:
    """A client of the embedded engine, then of a real server if there is one."""
    if request.param == "qdrant":
        url = os.environ.get("QDRANT_TEST_URL", "")
        if not url:
            pytest.skip("QDRANT_TEST_URL names no Qdrant server")
    else:
        url = request.getfixturevalue("shared_engine").url
    made = AsyncQdrantClient(url=url, timeout=30)
    yield made
    await made.close()


MakeName = Callable[[], str]


@pytest.fixture
async def new_name(client: AsyncQdrantClient) -> AsyncIterator[MakeName]:
    """Makes names of collections that nobody else uses; they are deleted afterwards."""
    names: list[str] = []

    def make() -> str:
        names.append(f"contract-{uuid4()}")
        return names[-1]

    yield make
    await asyncio.gather(*(client.delete_collection(name) for name in names))
