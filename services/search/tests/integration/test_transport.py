"""The service over TLS to every server that it uses."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from tests.tls import HOST, Authority, nats_program, redis_program, tls_proxy

from quarry_common.cache.connection import open_redis
from quarry_common.embedding.load import load_embedder
from quarry_common.messaging.broker import connect
from quarry_common.messaging.heartbeat import Heartbeat
from quarry_common.messaging.rpc import RpcClient
from quarry_common.service import serve
from quarry_common.settings import load
from quarry_common.vectors import connection
from quarry_common.vectors.index import VectorIndex
from quarry_local.testing import StartServer
from quarry_search.service import build
from quarry_search.settings import SearchSettings

from .conftest import Search, answers

PASSWORD = "over-tls"


@pytest.fixture
def over_tls(server_folder: Path, start_server: StartServer, qdrant_url: str) -> Iterator[SearchSettings]:
    """Servers that ask for a certificate, each behind TLS; the settings that they let in."""
    folder = server_folder / "search-over-tls"
    authority = Authority(folder / "authority")
    cert, key = authority.issue("search")
    bus, nats_port = nats_program(folder / "nats", authority, PASSWORD, mutual=True)
    cache, redis_port = redis_program(folder / "redis", authority, PASSWORD, mutual=True)
    start_server(bus)
    start_server(cache)
    with tls_proxy(authority, urlsplit(qdrant_url).port or 6333) as qdrant_port:
        given = {
            "NATS_URL": f"tls://quarry:{PASSWORD}@{HOST}:{nats_port}",
            "REDIS_URL": f"rediss://{HOST}:{redis_port}/0",
            "REDIS_PASSWORD": PASSWORD,
            "REDIS_CONNECT_TIMEOUT_SECONDS": "2",
            "QDRANT_URL": f"https://{HOST}:{qdrant_port}",
            **{f"{each}_CA_FILE": authority.ca_file for each in ("NATS", "REDIS", "QDRANT")},
            **{f"{each}_CERT_FILE": cert for each in ("NATS", "REDIS")},
            **{f"{each}_KEY_FILE": key for each in ("NATS", "REDIS")},
        }
        yield load(SearchSettings, given)


async def test_it_finds_and_shares_over_tls(over_tls: SearchSettings) -> None:
    stopping = asyncio.Event()
    redis = open_redis(over_tls)
    async with (
        asyncio.timeout(30),
        connect(over_tls, "test") as bus,
        connection.connect(over_tls) as qdrant,
        build(over_tls) as service,
    ):
        embedder = await asyncio.to_thread(load_embedder, over_tls)
        index = VectorIndex(qdrant, over_tls, embedder_id=embedder.id, dimensions=embedder.dimensions)
        await index.ensure()
        working = asyncio.gather(
            serve(service, over_tls, stopping), Heartbeat(bus, "indexer", lambda: 0.0).run(stopping)
        )
        rpc = RpcClient(bus)
        await answers(rpc)
        search = Search(rpc, index, embedder, uuid4())
        await search.store("The impeller of the pump was worn.")

        assert await search.texts("impeller") == ["The impeller of the pump was worn."]
        while not await redis.dbsize():  # what the processes agree on about content
            await asyncio.sleep(0.02)
        stopping.set()
        await working
    await redis.aclose()
