"""Qdrant, S3 and the OTLP receiver over TLS, each behind a certificate of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.spans import receiving
from tests.tls import HOST, Authority, tls_proxy

from quarry_common.blobs import folder_of, open_store
from quarry_common.errors import NotFoundError, UnavailableError
from quarry_common.settings import BlobSettings, QdrantSettings, SettingsError, TelemetrySettings, load
from quarry_common.telemetry.tracing import exporter
from quarry_common.vectors.connection import connect
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.index import VectorIndex

TENANT = UUID(int=1)


@pytest.fixture(scope="module")
def qdrant_port(qdrant_url: str, authority: Authority) -> Iterator[int]:
    with tls_proxy(authority, urlsplit(qdrant_url).port or 6333) as port:
        yield port


def qdrant(port: int, ca_file: str, host: str = HOST) -> QdrantSettings:
    return load(QdrantSettings, {"QDRANT_URL": f"https://{host}:{port}", "QDRANT_CA_FILE": ca_file})


async def write_and_read(settings: QdrantSettings) -> None:
    """Ask Qdrant through both clients: the one that writes and the lean one that reads."""
    async with connect(settings) as server:
        index = VectorIndex(server, settings, embedder_id="transport@1", dimensions=4)
        await index.ensure()
        assert await index.fetch(Scope(uuid4()), [str(uuid4())]) == {}


async def test_qdrant_is_trusted_by_its_authority(qdrant_port: int, authority: Authority) -> None:
    await write_and_read(qdrant(qdrant_port, authority.ca_file))


@pytest.mark.parametrize(
    ("host", "trusted", "words", "setting"),
    [
        (HOST, False, "a certificate that is not trusted", "QDRANT_CA_FILE"),
        ("localhost", True, "a certificate for another host", "QDRANT_URL"),
    ],
)
async def test_another_qdrant_is_refused_by_both_clients(
    qdrant_port: int,
    authority: Authority,
    stranger: Authority,
    host: str,
    trusted: bool,
    words: str,
    setting: str,
) -> None:
    settings = qdrant(qdrant_port, (authority if trusted else stranger).ca_file, host)

    async with connect(settings) as server:
        index = VectorIndex(server, settings, embedder_id="transport@1", dimensions=4)
        for asked in (index.check(), index.fetch(Scope(uuid4()), [str(uuid4())])):
            with pytest.raises(UnavailableError, match=words) as caught:
                await asked
            assert setting in caught.value.data.advice


@pytest.fixture
async def s3(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """An endpoint that has no blob, named as operators name it."""

    async def nothing(_request: web.Request) -> web.Response:
        return web.Response(status=404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", nothing)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    port = runner.addresses[0][1]
    with tls_proxy(authority, port) as tls_port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{HOST}:{tls_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "test")
        yield
    await runner.cleanup()


@pytest.mark.usefixtures("s3")
async def test_an_s3_endpoint_is_trusted_by_its_authority(authority: Authority) -> None:
    store = open_store(BlobSettings(blob_url="s3://bucket", blob_ca_file=authority.ca_file))

    with pytest.raises(NotFoundError):
        await store.of(TENANT).get_text(f"{folder_of(TENANT)}/nothing")


@pytest.mark.full  # the client tries eleven times
@pytest.mark.usefixtures("s3")
async def test_another_s3_endpoint_is_refused(stranger: Authority) -> None:
    store = open_store(BlobSettings(blob_url="s3://bucket", blob_ca_file=stranger.ca_file))

    with pytest.raises(UnavailableError):
        await store.of(TENANT).get_text(f"{folder_of(TENANT)}/nothing")


def test_no_variable_turns_the_verification_of_s3_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")

    with pytest.raises(SettingsError, match="AWS_ALLOW_INVALID_CERTIFICATES"):
        open_store(BlobSettings(blob_url="s3://bucket"))


async def test_a_receiver_of_traces_is_trusted_by_its_authority(authority: Authority) -> None:
    with receiving() as receiver, tls_proxy(authority, urlsplit(receiver.address).port or 0) as port:
        settings = TelemetrySettings(otlp_endpoint=f"https://{HOST}:{port}", otlp_ca_file=authority.ca_file)
        sender = exporter(settings)
        assert await asyncio.to_thread(sender.export, []) is SpanExportResult.SUCCESS
        sender.shutdown()
