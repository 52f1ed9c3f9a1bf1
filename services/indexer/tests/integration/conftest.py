"""The indexer on real servers: migrated once, run in this process, asked over NATS as the gateway does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from quarry_common.blobs import BlobStore, folder_of, open_store
from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.contracts import documents as contract
from quarry_common.contracts import jobs as job_contract
from quarry_common.contracts.collections import SETTINGS, ListSettings
from quarry_common.contracts.documents import (
    Accept,
    AcceptBatch,
    Accepted,
    AcceptedBatch,
    BatchItem,
    BlobRef,
    Document,
    DocumentFields,
    DocumentRef,
)
from quarry_common.contracts.jobs import ChangeJob, Job, JobDetail, JobRef, JobState
from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging.broker import connect
from quarry_common.messaging.rpc import RpcClient
from quarry_common.ops import free_port
from quarry_common.service import serve
from quarry_common.settings import load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.service import build, definition
from quarry_indexer.settings import IndexerSettings
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

PASSWORD = "indexer-test"


class Indexer:
    """What a test may do: send documents as the gateway does, and look into the stores."""

    def __init__(
        self, rpc: RpcClient, blobs: BlobStore, index: VectorIndex, dsn: str, tenant_id: UUID
    ) -> None:
        self.rpc = rpc
        self.blobs = blobs
        self.index = index
        self.admin_dsn = dsn
        self.tenant_id = tenant_id

    async def put(
        self,
        content: bytes | None,
        *,
        file_name: str = "file.txt",
        upsert: bool = False,
        key: str | None = None,
        tenant_id: UUID | None = None,
        **fields: object,
    ) -> Accepted:
        tenant = tenant_id or self.tenant_id
        blob = await self.store(content, file_name, tenant) if content is not None else None
        request = Accept(
            tenant,
            DocumentFields(**fields),  # type: ignore[arg-type]
            blob,
            upsert=upsert,
            idempotency_key=key,
        )
        return await self.rpc.call(contract.ACCEPT, request)

    async def store(
        self, content: bytes, file_name: str = "file.txt", tenant_id: UUID | None = None
    ) -> BlobRef:
        owner = tenant_id or self.tenant_id
        path = f"{folder_of(owner)}/uploads/{new_id()}"
        stored = await self.blobs.of(owner).put_bytes(path, content)
        return BlobRef(stored.path, stored.size_bytes, stored.sha256, file_name)

    async def put_batch(
        self, *texts: str, upsert: bool = False, key: str | None = None, **fields: object
    ) -> AcceptedBatch:
        items = [
            BatchItem(
                DocumentFields(**fields, external_id=f"{number}" if upsert else None),  # type: ignore[arg-type]
                await self.store(text.encode()) if text else None,
            )
            for number, text in enumerate(texts)
        ]
        digest = "".join(texts).encode()
        request = AcceptBatch(self.tenant_id, items, upsert, idempotency_key=key, request_sha256=digest)
        return await self.rpc.call(contract.ACCEPT_BATCH, request)

    async def searchable(self, content: bytes | None, **fields: object) -> Accepted:
        """Store a document and wait until it can be found."""
        accepted = await self.put(content, **fields)  # type: ignore[arg-type]
        job = await self.finished(accepted.job_id)
        assert job.state is JobState.SUCCEEDED, job
        return accepted

    async def document(self, document_id: UUID) -> Document:
        return await self.rpc.call(contract.GET_DOCUMENT, DocumentRef(self.tenant_id, document_id))

    async def cancel(self, job_id: UUID) -> Job:
        return await self.rpc.call(job_contract.CANCEL_JOB, ChangeJob(self.tenant_id, job_id))

    async def retry(self, job_id: UUID) -> Job:
        return await self.rpc.call(job_contract.RETRY_JOB, ChangeJob(self.tenant_id, job_id))

    async def job(self, job_id: UUID, tenant_id: UUID | None = None) -> JobDetail:
        return await self.rpc.call(job_contract.GET_JOB, JobRef(tenant_id or self.tenant_id, job_id))

    async def finished(self, job_id: UUID, tenant_id: UUID | None = None, seconds: float = 60) -> JobDetail:
        async with asyncio.timeout(seconds):
            while not (job := await self.job(job_id, tenant_id)).state.final:
                await asyncio.sleep(0.02)
        return job

    def of_another_tenant(self) -> "Indexer":
        return Indexer(self.rpc, self.blobs, self.index, self.admin_dsn, new_id())


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Return when `condition` holds; the test fails when it does not in time."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
async def environment(
    postgres_admin_dsn: str, nats_url: str, qdrant_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    admin_dsn = create_database(postgres_admin_dsn)
    folder: Path = tmp_path_factory.mktemp("indexer")
    environment = {
        "MIGRATE_DATABASE_URL": admin_dsn,
        "DATABASE_ROLE_PASSWORD": PASSWORD,
        "DATABASE_URL": with_login(admin_dsn, "quarry_indexer", PASSWORD),
        "NATS_URL": nats_url,
        "QDRANT_URL": qdrant_url,
        "BLOB_URL": f"file:{folder}/blobs",
        "JOB_LEASE_SECONDS": "2",
    }
    folder.chmod(0o755)
    await migrate_all(load(MigrateSettings, environment), [definition])
    return environment


@asynccontextmanager
async def running(settings: IndexerSettings) -> AsyncIterator[None]:
    """Run an indexer in this process; its failure fails the test."""
    stopping = asyncio.Event()
    async with build(settings) as service:
        task = asyncio.create_task(serve(service, settings, stopping))
        try:
            yield
        finally:
            stopping.set()
            await task


@pytest.fixture(scope="session")
async def indexer(environment: dict[str, str]) -> AsyncIterator[Indexer]:
    settings = load(IndexerSettings, {**environment, "OPS_PORT": str(free_port("127.0.0.1"))})
    async with connect(settings, "test") as connection, connect_qdrant(settings) as client, running(settings):
        embedder = load_embedder(settings)
        index = VectorIndex(client, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        store = open_store(settings)
        rpc = RpcClient(connection)

        async def answers() -> bool:
            try:
                await rpc.call(SETTINGS, ListSettings(new_id()))
            except UnavailableError:
                return False
            return True

        await until(answers)
        yield Indexer(rpc, store, index, environment["MIGRATE_DATABASE_URL"], new_id())


class Embedded:
    """The texts that the embedder was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def of(self, passage: str) -> list[str]:
        """Return the texts that hold a passage."""
        return [text for text in self.texts if passage in text]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Embedded:
    """Return what is embedded from now on, whoever's it is."""
    embedded = Embedded()
    embed = EmbedderPool.embed

    async def counted(self: EmbedderPool, texts: Sequence[str], **options: Any) -> Any:
        embedded.texts.extend(texts)
        return await embed(self, texts, **options)

    monkeypatch.setattr(EmbedderPool, "embed", counted)
    return embedded
