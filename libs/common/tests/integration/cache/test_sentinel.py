"""Redis behind Sentinels: the master is found, and found again after it has died or stood still."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from libs.common.tests.integration.cache.conftest import PASSWORD, OpenCache, settings_of
from libs.common.tests.integration.conftest import Until
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from quarry_common.cache.breaker import State
from quarry_common.cache.cache import Cache
from quarry_common.cache.connection import open_redis
from quarry_local.ports import free_port
from quarry_local.servers import redis
from quarry_local.servers.program import Program, environment
from quarry_local.servers.wire import redis_ready
from quarry_local.testing import running

TENANT = uuid4()


class Servers:
    """A master, a replica and a Sentinel. The address names a Sentinel first that is not there."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.ports = [free_port() for _ in range(2)]
        self.sentinel = free_port()
        self.url = (
            f"redis+sentinel://:{PASSWORD}@127.0.0.1:{free_port()},127.0.0.1:{self.sentinel}/main/0"
            f"?sentinel_password={PASSWORD}"
        )
        self.processes = [
            stack.enter_context(running(self._server(folder / str(port), port), folder / f"{port}.log"))
            for port in self.ports
        ]
        watching = self._sentinel(folder / "sentinel", self.sentinel)
        stack.enter_context(running(watching, folder / "sentinel.log"))

    def _server(self, folder: Path, port: int) -> Program:
        program = redis.program(folder, port, PASSWORD, durable=False)
        master = f"masterauth {PASSWORD}\n" + (
            "" if port == self.ports[0] else f"replicaof 127.0.0.1 {self.ports[0]}\n"
        )
        return _with(program, folder / "redis.conf", f"{master}repl-diskless-sync-delay 0\n")

    def _sentinel(self, folder: Path, port: int) -> Program:
        # The server is its own Sentinel: the package `redis-sentinel` brings no other program.
        binary = redis.program(folder, port, PASSWORD).argv[0]
        conf = folder / "sentinel.conf"
        program = Program(
            name="redis-sentinel",
            argv=(binary, str(conf), "--sentinel"),
            port=port,
            folder=folder,
            environ=environment(),
            ready=lambda: redis_ready(port, PASSWORD),
            prepare=lambda: folder.mkdir(parents=True, exist_ok=True),
        )
        return _with(
            program,
            conf,
            f'bind 127.0.0.1\nport {port}\ndir "{folder}"\nrequirepass {PASSWORD}\n'
            f"sentinel monitor main 127.0.0.1 {self.ports[0]} 1\nsentinel auth-pass main {PASSWORD}\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 2000\n",
        )


def _with(program: Program, conf: Path, lines: str) -> Program:
    def prepare() -> None:
        program.prepare()
        with conf.open("a") as file:
            file.write(lines)

    return replace(program, prepare=prepare)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path, stack)


async def replica_follows(servers: Servers) -> bool:
    async with Redis.from_url(redis.url(servers.ports[1], PASSWORD)) as client:
        return (await client.info("replication"))["master_link_status"] == "up"


async def sentinel_knows_the_replica(servers: Servers) -> bool:
    async with Redis(port=servers.sentinel, password=PASSWORD) as client:
        return len(await client.sentinel_slaves("main")) == 1


async def fresh() -> bytes:
    return b"fresh"


def state(cache: Cache) -> State:
    assert cache._redis is not None
    return cache._redis.breaker.state


@pytest.mark.parametrize("how", ["kill", "suspend"])
async def test_the_cache_goes_on_and_finds_the_next_master(
    open_one: OpenCache, servers: Servers, until: Until, how: str
) -> None:
    await until(lambda: replica_follows(servers))
    await until(lambda: sentinel_knows_the_replica(servers))
    async with open_one(url=servers.url) as cache, open_one(url=servers.url) as other:

        async def shared() -> bool:
            key = uuid4().hex
            assert await cache.get_or_compute(TENANT, key, fresh) == b"fresh"
            return await other.get(TENANT, key) == b"fresh"

        await until(shared)
        getattr(servers.processes[0], how)()

        async with asyncio.timeout(10):
            while state(cache) is State.CLOSED:
                assert await cache.get_or_compute(TENANT, uuid4().hex, fresh) == b"fresh"
        await until(shared)
        # By whom it is answered now.
        async with Redis.from_url(redis.url(servers.ports[1], PASSWORD)) as client:
            assert (await client.info("replication"))["role"] == "master"
        if how == "suspend":
            servers.processes[0].resume()
            await until(shared)


async def test_a_command_is_bounded_while_no_master_is_known(servers: Servers, prefix: str) -> None:
    for process in servers.processes:
        process.kill()
    client = open_redis(settings_of(servers.url, prefix))
    try:
        # `MasterNotFoundError` is one, too.
        with pytest.raises(RedisConnectionError):
            async with asyncio.timeout(5):
                await client.get("key")
    finally:
        await client.aclose()


async def test_closing_a_client_closes_those_to_its_sentinels(servers: Servers, prefix: str) -> None:
    client = open_redis(settings_of(servers.url, prefix))
    await client.ping()
    await client.aclose()

    connected = {each.raddr.port for each in psutil.Process().net_connections() if each.raddr}
    assert not connected & {*servers.ports, servers.sentinel}
