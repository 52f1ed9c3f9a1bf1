"""The indexer with a remote embedder that misbehaves: a rate limit fails no document; the rest says why."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from libs.common.tests.embedding_server import (
    MODEL,
    EmbeddingServer,
    Request,
    Script,
    answer,
    error,
    running_embedding_server,
)

from quarry_common.blobs import open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.contracts.jobs import JobDetail, JobState
from quarry_common.embedding.load import open_embedder
from quarry_common.ids import new_id
from quarry_common.messaging.broker import connect
from quarry_common.messaging.rpc import RpcClient
from quarry_common.ops import free_port
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.indexing import embedding
from quarry_indexer.service import definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers import nats
from quarry_local.servers.postgres import with_login
from quarry_local.testing import StartServer, create_database

from .conftest import PASSWORD, Indexer, running


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[EmbeddingServer]:
    async with running_embedding_server() as server:
        yield server


@pytest.fixture(scope="module")
async def remote(
    server: EmbeddingServer,
    environment: dict[str, str],
    postgres_admin_dsn: str,
    server_folder: Path,
    start_server: StartServer,
) -> AsyncIterator[Indexer]:
    """An indexer of its own, on a bus of its own, that embeds at `server`."""
    port = free_port("127.0.0.1")
    start_server(nats.program(server_folder / "nats-of-remote", port, PASSWORD))
    admin_dsn = create_database(postgres_admin_dsn)
    own = {
        **environment,
        "MIGRATE_DATABASE_URL": admin_dsn,
        "DATABASE_URL": with_login(admin_dsn, "quarry_indexer", environment["DATABASE_ROLE_PASSWORD"]),
        "NATS_URL": nats.url(port, PASSWORD),
        "EMBEDDER": "openai",
        "EMBEDDER_URL": server.url,
        "EMBEDDER_MODEL": MODEL,
        "EMBEDDER_DIMENSIONS": str(server.dimensions),
        "EMBEDDER_TIMEOUT_SECONDS": "1",
        "OPS_PORT": str(free_port("127.0.0.1")),
    }
    await migrate_all(load(MigrateSettings, own), [definition])
    settings = load(IndexerSettings, own)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect(settings, "test"))
        client = await stack.enter_async_context(connect_qdrant(settings))
        embedder = await stack.enter_async_context(open_embedder(settings))
        await stack.enter_async_context(running(settings))
        index = VectorIndex(client, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        yield Indexer(RpcClient(connection), open_store(settings), index, admin_dsn, new_id())


@pytest.fixture
def tenant(remote: Indexer, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> Indexer:
    server.script.clear()
    server.rule = lambda request: None
    monkeypatch.setattr(embedding, "EMBED_SECONDS", 2.0)
    return remote.of_another_tenant()


async def outcome(tenant: Indexer, text: str) -> JobDetail:
    accepted = await tenant.put(text.encode())
    return await tenant.finished(accepted.job_id, seconds=90)


async def test_documents_are_embedded_at_the_endpoint(tenant: Indexer, server: EmbeddingServer) -> None:
    job = await outcome(tenant, "plain words")

    assert job.state is JobState.SUCCEEDED
    assert any("plain words" in text for text in server.embedded)


@pytest.mark.timeout(180)
async def test_a_rate_limit_fails_no_document_however_long_it_lasts(
    tenant: Indexer, server: EmbeddingServer
) -> None:
    refused = 0

    def limited(request: Request) -> Script | None:
        nonlocal refused
        refused += 1
        # Longer than one attempt of a job lasts, so that jobs are postponed by it.
        return error(429, "slowly", {"Retry-After": "1"}) if refused <= 6 else None

    server.rule = limited
    accepted = [await tenant.put(f"document {n}".encode()) for n in range(20)]
    jobs = [await tenant.finished(each.job_id, seconds=120) for each in accepted]

    assert refused > 6
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert max(job.attempt for job in jobs) > 1


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(error(500, "the model fell over"), "embedder_failed", id="500"),
        pytest.param(answer(200, b"no JSON at all"), "embedder_failed", id="garbage"),
        pytest.param(error(401, "wrong key"), "embedder_unauthorized", id="401"),
    ],
)
@pytest.mark.timeout(180)
async def test_an_endpoint_that_keeps_failing_fails_the_job_with_the_cause_after_bounded_tries(
    tenant: Indexer, server: EmbeddingServer, script: Script, code: str
) -> None:
    server.rule = lambda request: script

    job = await outcome(tenant, "a document")

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == code
    assert job.error.advice
    assert 2 <= job.attempt <= 5


@pytest.mark.timeout(180)
async def test_an_endpoint_that_recovers_lets_the_document_through(
    tenant: Indexer, server: EmbeddingServer
) -> None:
    server.script.extend([error(500, "once"), answer(200, b"{"), error(503, "twice")])

    assert (await outcome(tenant, "a patient document")).state is JobState.SUCCEEDED


async def test_a_text_that_the_endpoint_refuses_fails_its_document_alone(
    tenant: Indexer, server: EmbeddingServer
) -> None:
    def poisoned(request: Request) -> Script | None:
        return error(400, "this text, no") if any("poison" in text for text in request.texts) else None

    server.rule = poisoned
    accepted = [await tenant.put(text) for text in (b"good", b"poison", b"also good")]
    jobs = [await tenant.finished(each.job_id) for each in accepted]

    assert [job.state for job in jobs] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    assert jobs[1].error is not None
    assert jobs[1].error.code == "embedder_refused"
