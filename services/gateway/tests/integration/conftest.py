"""A real gateway on a real bus; the services behind it are answered by `Backend`, typed by the contracts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest

from quarry_common import keys
from quarry_common.contracts import documents as docs
from quarry_common.contracts import search, tenancy
from quarry_common.errors import ConflictError, ErrorData, NotFoundError, QuarryError, UnauthenticatedError
from quarry_common.ids import document_id_for, new_id
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcServer
from quarry_common.settings import NatsSettings
from quarry_gateway.server import HttpServer
from quarry_gateway.service import build
from quarry_gateway.settings import GatewaySettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CLOSED_PORT = "127.0.0.1:1"


class Backend:
    """What tenants, indexer and search would answer: just enough state to tell right from wrong."""

    def __init__(self) -> None:
        self.acme = tenancy.Tenant(new_id(), "acme", "Acme Ltd", NOW)
        self.other = tenancy.Tenant(new_id(), "other", "Other Ltd", NOW)
        self.tenants = {tenant.slug: tenant for tenant in (self.acme, self.other)}
        self.principals: dict[bytes, tenancy.Principal] = {}
        self.accepted: list[docs.Accept] = []
        self.documents: dict[tuple[UUID, UUID], docs.Document] = {}
        self.jobs: dict[tuple[UUID, UUID], docs.Job] = {}
        self.collections: dict[tuple[UUID, str], docs.Collection] = {}
        self.queries: list[search.Query] = []
        self.resolved = 0
        self.job_outcome: docs.JobState | None = docs.JobState.SUCCEEDED
        self.job_error = ErrorData("encrypted_file", 422, "The file is encrypted", "It asks for a password.")
        self.refuse_accept: QuarryError | None = None

    def key(
        self, *scopes: tenancy.Scope, tenant: tenancy.Tenant | None = None, operator: bool = False
    ) -> str:
        text = keys.generate(tenancy.KeyLabel.TEST)
        owner = None if operator else tenant or self.acme
        self.principals[keys.sha256(text)] = tenancy.Principal(
            key_id=new_id(),
            tenant_id=owner and owner.id,
            tenant_slug=owner and owner.slug,
            scopes=frozenset({tenancy.Scope.PLATFORM} if operator else scopes or tenancy.TENANT_SCOPES),
        )
        return text

    def answer_on(self, server: RpcServer, service: str) -> None:
        pairs = {
            "tenants": [
                (tenancy.RESOLVE_KEY, self.resolve_key),
                (tenancy.RESOLVE_SLUG, self.resolve_slug),
                (tenancy.CREATE_TENANT, self.create_tenant),
                (tenancy.LIST_TENANTS, self.list_tenants),
                (tenancy.CREATE_KEY, self.create_key),
                (tenancy.LIST_KEYS, self.list_keys),
                (tenancy.REVOKE_KEY, self.revoke_key),
            ],
            "indexer": [
                (docs.ACCEPT, self.accept),
                (docs.GET_DOCUMENT, self.get_document),
                (docs.LIST_DOCUMENTS, self.list_documents),
                (docs.DELETE_DOCUMENT, self.delete_document),
                (docs.GET_JOB, self.get_job),
                (docs.LIST_JOBS, self.list_jobs),
                (docs.CREATE_COLLECTION, self.create_collection),
                (docs.GET_COLLECTION, self.get_collection),
                (docs.LIST_COLLECTIONS, self.list_collections),
                (docs.DELETE_COLLECTION, self.delete_collection),
            ],
            "search": [(search.QUERY, self.query)],
        }
        for method, handler in pairs[service]:
            server.answer(method, handler)  # type: ignore[arg-type]

    async def resolve_key(self, asked: tenancy.ResolveKey) -> tenancy.Principal:
        self.resolved += 1
        if asked.key_sha256 not in self.principals:
            raise UnauthenticatedError("There is no such key.")
        return self.principals[asked.key_sha256]

    async def resolve_slug(self, asked: tenancy.ResolveSlug) -> tenancy.Tenant:
        if asked.slug not in self.tenants:
            raise NotFoundError("There is no such tenant.")
        return self.tenants[asked.slug]

    async def create_tenant(self, asked: tenancy.CreateTenant) -> tenancy.Tenant:
        if asked.slug in self.tenants:
            raise ConflictError("The slug is taken.")
        return self.tenants.setdefault(asked.slug, tenancy.Tenant(new_id(), asked.slug, asked.name, NOW))

    async def list_tenants(self, asked: tenancy.ListTenants) -> tenancy.TenantPage:
        return tenancy.TenantPage(list(self.tenants.values())[: asked.limit])

    async def create_key(self, asked: tenancy.CreateKey) -> tenancy.CreatedKey:
        text = keys.generate(asked.label)
        key_id = new_id()
        self.principals[keys.sha256(text)] = tenancy.Principal(key_id, asked.tenant_id, "acme", asked.scopes)
        return tenancy.CreatedKey(text, self._key(key_id, asked.name, sorted(asked.scopes)))

    async def list_keys(self, asked: tenancy.ListKeys) -> tenancy.KeyPage:
        owned = [who for who in self.principals.values() if who.tenant_id == asked.tenant_id]
        return tenancy.KeyPage(
            [self._key(who.key_id, "key", sorted(who.scopes)) for who in owned[: asked.limit]]
        )

    async def revoke_key(self, asked: tenancy.RevokeKey) -> tenancy.ApiKey:
        for digest, who in list(self.principals.items()):
            if who.key_id == asked.key_id and who.tenant_id == asked.tenant_id:
                del self.principals[digest]
                revoked = self._key(who.key_id, "key", sorted(who.scopes))
                return msgspec.structs.replace(revoked, revoked_at=NOW)
        raise NotFoundError("There is no such key.")

    @staticmethod
    def _key(key_id: UUID, name: str, scopes: list[tenancy.Scope]) -> tenancy.ApiKey:
        return tenancy.ApiKey(key_id, name, "qk_test_abcd", tenancy.KeyLabel.TEST, scopes, {}, NOW)

    async def accept(self, asked: docs.Accept) -> docs.Accepted:
        if self.refuse_accept is not None:
            raise self.refuse_accept
        self.accepted.append(asked)
        fields = asked.document
        external_id = fields.external_id
        document_id = (
            document_id_for(asked.tenant_id, fields.collection, external_id) if external_id else new_id()
        )
        before = self.documents.get((asked.tenant_id, document_id))
        size_bytes = asked.blob.size_bytes if asked.blob else 0
        unchanged = before is not None and before.size_bytes == size_bytes
        job = docs.Job(
            id=new_id(), document_id=document_id, collection=fields.collection, title=fields.title, version=1,
            state=docs.JobState.QUEUED, stage=None, chunks_done=0, chunks_total=None, attempt=0,
            created_at=NOW,
        )  # fmt: skip
        self.jobs[asked.tenant_id, job.id] = job
        self.documents[asked.tenant_id, document_id] = docs.Document(
            id=document_id,
            status=docs.DocumentStatus.PENDING,
            version=None,
            latest_version=1,
            file_name=asked.blob.file_name if asked.blob else "",
            size_bytes=size_bytes,
            chunk_count=0,
            created_at=NOW,
            updated_at=NOW,
            **msgspec.structs.asdict(fields),
        )
        return docs.Accepted(document_id, job.id, 1, unchanged)

    async def get_job(self, asked: docs.JobRef) -> docs.Job:
        job = self.jobs.get((asked.tenant_id, asked.job_id))
        if job is None:
            raise NotFoundError("There is no such job.")
        if self.job_outcome is not None:
            # Each look finds it one step further.
            state = docs.JobState.RUNNING if job.state is docs.JobState.QUEUED else self.job_outcome
            error = self.job_error if state is docs.JobState.FAILED else None
            job = self.jobs[asked.tenant_id, job.id] = msgspec.structs.replace(job, state=state, error=error)
        return job

    async def list_jobs(self, asked: docs.ListJobs) -> docs.JobPage:
        found = [job for (tenant_id, _), job in self.jobs.items() if tenant_id == asked.tenant_id]
        return docs.JobPage([job for job in found if asked.state in {None, job.state}][: asked.limit])

    def _document(self, asked: docs.DocumentRef) -> docs.Document:
        found = self.documents.get((asked.tenant_id, asked.document_id or new_id()))
        if found is None:
            raise NotFoundError("There is no such document.")
        return found

    async def get_document(self, asked: docs.DocumentRef) -> docs.Document:
        return self._document(asked)

    async def list_documents(self, asked: docs.ListDocuments) -> docs.DocumentPage:
        found = [item for (tenant_id, _), item in self.documents.items() if tenant_id == asked.tenant_id]
        return docs.DocumentPage(found[: asked.limit], "more" if len(found) > asked.limit else None)

    async def delete_document(self, asked: docs.DocumentRef) -> docs.Deleted:
        found = self._document(asked)
        del self.documents[asked.tenant_id, found.id]
        return docs.Deleted(found.id)

    async def create_collection(self, asked: docs.CollectionRef) -> docs.Collection:
        if (asked.tenant_id, asked.name) in self.collections:
            raise ConflictError("The name is taken.")
        made = docs.Collection(new_id(), asked.name, "minilm", 0, 0, NOW)
        return self.collections.setdefault((asked.tenant_id, asked.name), made)

    async def get_collection(self, asked: docs.CollectionRef) -> docs.Collection:
        found = self.collections.get((asked.tenant_id, asked.name))
        if found is None:
            raise NotFoundError("There is no such collection.")
        return found

    async def list_collections(self, asked: docs.ListCollections) -> docs.CollectionPage:
        found = [item for (tenant_id, _), item in self.collections.items() if tenant_id == asked.tenant_id]
        return docs.CollectionPage(found[: asked.limit])

    async def delete_collection(self, asked: docs.CollectionRef) -> docs.CollectionDeleted:
        await self.get_collection(asked)
        del self.collections[asked.tenant_id, asked.name]
        return docs.CollectionDeleted(asked.name, 0)

    async def query(self, asked: search.Query) -> search.Answer:
        self.queries.append(asked)
        return search.Answer(new_id(), asked.mode, asked.query, 0, [], {"total": 0.1})


@asynccontextmanager
async def answering(backend: Backend, nats_url: str, *services: str) -> AsyncIterator[None]:
    """Answer for `services` until the block ends."""
    async with broker.connect(NatsSettings(nats_url=nats_url), "test-backend") as connection:
        stopping = asyncio.Event()
        servers = [RpcServer(connection, service) for service in services]
        for server, service in zip(servers, services, strict=True):
            backend.answer_on(server, service)
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.run(stopping))
            for server, service in zip(servers, services, strict=True):
                await _listening(connection, server, service)
            try:
                yield
            finally:
                stopping.set()


async def _listening(connection: object, server: RpcServer, service: str) -> None:
    # The subscriptions are made on the server's first step; one flush later they are known to the bus.
    await asyncio.sleep(0)
    await connection.flush(timeout=5)  # type: ignore[attr-defined]


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Run a gateway; yield its address, and what stops it."""
    async with build(settings) as service:
        stopping = asyncio.Event()
        (server,) = service.parts
        assert isinstance(server, HttpServer)
        running = asyncio.create_task(server.run(stopping))
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
    )


@pytest.fixture
async def backend(nats_url: str) -> AsyncIterator[Backend]:
    backend = Backend()
    async with answering(backend, nats_url, "tenants", "indexer", "search"):
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
def stored(blob_folder: Path):  # type: ignore[no-untyped-def]
    """Return a function that lists the blobs that are there now."""
    return lambda: sorted(path for path in blob_folder.rglob("*") if path.is_file())


@pytest.fixture
def serve():  # type: ignore[no-untyped-def]
    """Return the context manager that runs one more gateway."""
    return serving


@pytest.fixture
def answer_for():  # type: ignore[no-untyped-def]
    """Return the context manager that answers for some services."""
    return answering
