"""A real gateway on a real bus; the services behind it are answered by `Backend`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from libs.common.tests.integration.conftest import until as until  # noqa: PLC0414 - a fixture

from quarry_gateway.http.server import HttpServer
from quarry_gateway.service import build
from quarry_gateway.settings import GatewaySettings
from quarry_local.testing import nats_server

from .backend import Backend, answering

CLOSED_PORT = "127.0.0.1:1"


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Run a gateway; yield its address, and what stops it."""
    async with build(settings) as service:
        stopping = asyncio.Event()
        (server,) = (part for part in service.parts if isinstance(part, HttpServer))
        running = asyncio.gather(*(part.run(stopping) for part in service.parts))

        async def tell() -> None:
            await stopping.wait()
            assert service.health is not None
            service.health.stopping = True

        telling = asyncio.create_task(tell())
        url = f"http://{settings.http_host}:{server.port}"
        async with httpx.AsyncClient() as probe, asyncio.timeout(10):
            while True:
                try:
                    await probe.get(f"{url}/livez")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
        try:
            yield url, stopping
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)
            await telling


@pytest.fixture(scope="session")
def nats_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A bus of its own: on the session's, services that other tests run would answer."""
    yield from nats_server(request, "nats-of-gateway")


@pytest.fixture(scope="session")
def blob_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blobs")


@pytest.fixture(scope="session")
def gateway_settings(nats_url: str, blob_folder: Path) -> GatewaySettings:
    return GatewaySettings(
        nats_url=nats_url,
        blob_url=f"file:{blob_folder}",
        redis_url=f"redis://{CLOSED_PORT}/0",
        qdrant_url=f"http://{CLOSED_PORT}",
        http_port=0,
        max_upload_mb=150,
        max_json_mb=2,
        body_timeout_seconds=2,
        rpc_timeout_seconds=3,
        health_check_seconds=3_600,
    )


@pytest.fixture
async def backend(nats_url: str) -> AsyncIterator[Backend]:
    backend = Backend()
    async with answering(backend, nats_url, "tenants", "indexer", "search", "webhooks", "analytics"):
        yield backend


@pytest.fixture
def idle_backend() -> Backend:
    """A backend that answers nothing until `answer_for` lets it."""
    return Backend()


@pytest.fixture(scope="session")
async def gateway_url(gateway_settings: GatewaySettings) -> AsyncIterator[str]:
    async with serving(gateway_settings) as (url, _):
        yield url


@pytest.fixture
async def http(gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=30) as client:
        yield client


@pytest.fixture
async def client(http: httpx.AsyncClient, backend: Backend) -> httpx.AsyncClient:
    """A client that carries a key of the tenant `acme` with every scope of a tenant."""
    http.headers["X-API-Key"] = backend.key()
    return http


@pytest.fixture
def stored(blob_folder: Path) -> Callable[[], list[Path]]:
    """Return a function that lists the blobs that are there now."""
    return lambda: sorted(path for path in blob_folder.rglob("*") if path.is_file())


@pytest.fixture
def serve() -> Callable[[GatewaySettings], AbstractAsyncContextManager[tuple[str, asyncio.Event]]]:
    """Return the context manager that runs one more gateway."""
    return serving


@pytest.fixture
def answer_for() -> Callable[..., AbstractAsyncContextManager[None]]:
    """Return the context manager that answers for some services."""
    return answering
