from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from quarry_common.cache.cache import Cache, open_cache
from quarry_common.cache.settings import CacheSettings
from quarry_common.settings import load
from quarry_local.ports import free_port
from quarry_local.servers import redis
from quarry_local.servers.launch import run_to_ready, stop

PASSWORD = "of-the-test"

OpenCache = Callable[..., AbstractAsyncContextManager[Cache]]


def settings_of(url: str, prefix: str, **more: object) -> CacheSettings:
    given = {"REDIS_URL": url, "CACHE_PREFIX": prefix}
    return load(CacheSettings, given | {name.upper(): str(value) for name, value in more.items()})


@pytest.fixture
def prefix() -> str:
    """Keeps a test apart from the others on the session's Redis."""
    return f"{uuid4().hex}:"


@pytest.fixture
def open_one(redis_url: str, prefix: str) -> OpenCache:
    """Opens caches over the session's Redis: each is like a process of its own."""

    @asynccontextmanager
    async def opened(name: str = "search", *, url: str = redis_url, **more: object) -> AsyncIterator[Cache]:
        async with open_cache(settings_of(url, prefix, **more), name) as cache:
            yield cache

    return opened


class MortalRedis:
    """A Redis of one test, which may be frozen, killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = redis.url(self.port, PASSWORD)
        self._program = redis.program(folder / "redis", self.port, PASSWORD, durable=False)
        self._log = folder / "redis.log"
        self.start()

    def start(self) -> None:
        self._process = run_to_ready(self._program, self._log, die_with_parent=True)

    def freeze(self) -> None:
        psutil.Process(self._process.pid).suspend()

    def wake(self) -> None:
        psutil.Process(self._process.pid).resume()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)

    def stop(self) -> None:
        if self._process.poll() is None:
            self.wake()
            stop(self._program, psutil.Process(self._process.pid))
        self._process.wait(timeout=10)


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[MortalRedis]:
    server = MortalRedis(tmp_path)
    yield server
    server.stop()
