"""The whole platform as `quarry up` runs it, in a folder and on ports of its own."""

import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import asyncpg
import httpx
import psutil
from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis

from quarry_client import AsyncClient, RetryPolicy
from quarry_client.retry import PATIENT
from quarry_client.types import Answer, Job
from quarry_common.cache.connection import open_redis
from quarry_common.contracts.tenancy import TENANT_SCOPES
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient
from quarry_common.settings import NatsSettings, QdrantSettings, RedisSettings, load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_local.layout import Layout
from quarry_local.plan import DATABASE, USUAL_PORTS, Plan, make_plan, service_names
from quarry_local.ports import free_port
from quarry_local.sample import load_credentials
from quarry_local.secret_store import load_secrets
from quarry_local.servers import postgres
from quarry_local.servers.program import Program, environment
from quarry_local.state import ProcessRecord, State, load_state, save_state
from quarry_local.testing import temporary_folder

UP_SECONDS = 300.0
DOWN_SECONDS = 170.0
INDEX_SECONDS = 90.0
POLL_SECONDS = 0.05
SERVERS = tuple(USUAL_PORTS)
ALL_SCOPES = sorted(scope.value for scope in TENANT_SCOPES)
T = TypeVar("T")

ONCE = RetryPolicy(attempts=1)
"""For tests that want to see every failure."""


@dataclass
class Tenant:
    """A tenant of its own for a test, with a key that may do everything in it."""

    id: UUID
    slug: str
    key: str
    client: AsyncClient
    """Sends again what failed for a moment, as applications do."""
    http: httpx.AsyncClient
    """Sends once and shows the answer as it is."""

    async def put(self, external_id: str, content: str, **fields: object) -> Job:
        """Store a document of text and return its job when it can be found."""
        accepted = await self.client.put_document(external_id, content=content, **fields)  # type: ignore[arg-type]
        return await self.succeeded(accepted.job_id)

    async def finished(self, job_id: UUID, seconds: float = INDEX_SECONDS) -> Job:
        """Return the job when it is final."""

        async def final() -> Job | None:
            job = await self.client.get_job(job_id)
            return job if job.final else None

        return await until(final, seconds, f"job {job_id} is over")

    async def succeeded(self, job_id: UUID, seconds: float = INDEX_SECONDS) -> Job:
        """Return the job when it has succeeded; any other end fails the test."""
        job = await self.finished(job_id, seconds)
        assert job.state == "succeeded", f"job {job_id} of {job.title!r}: {job.state}, {job.error}"
        return job

    async def search(self, query: str, **options: object) -> Answer:
        """Search once; whatever is no answer fails the test."""
        return await self.client.search(query, **options)  # type: ignore[arg-type]


@dataclass
class Platform:
    """A running platform."""

    layout: Layout
    environ: Mapping[str, str]
    url: str
    operator_key: str

    @property
    def state(self) -> State:
        """What the supervisor knows just now."""
        return load_state(self.layout.state)

    @property
    def plan(self) -> Plan:
        """What the supervisor runs, with the addresses and secrets of this platform."""
        return make_plan(self.layout, load_secrets(self.layout.secrets), self.environ, self.state)

    def program(self, name: str) -> Program:
        """Return how a process of the platform is started."""
        return next(each for each in (*self.plan.servers, *self.plan.services) if each.name == name)

    def process(self, name: str) -> psutil.Process:
        """Return the running process of that name."""
        identity = self.state.processes[name].identity
        found = identity.process() if identity else None
        assert found is not None, f"{name} does not run: {self.state.processes[name]}"
        return found

    def ops_url(self, name: str) -> str:
        """Return where a service's probes and metrics are."""
        return f"http://127.0.0.1:{self.state.processes[name].port}"

    async def all_ready(self, seconds: float = 120.0) -> None:
        """Return when the supervisor sees every process ready."""

        async def ready() -> bool:
            return all(record.state == "ready" for record in self.state.processes.values())

        await until(ready, seconds, "every process is ready")

    @asynccontextmanager
    async def http(self, key: str, tenant: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Yield an HTTP client that sends `key`."""
        headers = {"X-API-Key": key} | ({"X-Tenant": tenant} if tenant else {})
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=60, trust_env=False
        ) as client:
            yield client

    @asynccontextmanager
    async def tenant(self) -> AsyncIterator[Tenant]:
        """Yield a new tenant."""
        slug = f"t-{secrets.token_hex(6)}"
        async with AsyncClient(self.url, self.operator_key, retry=PATIENT) as operator:
            made = await operator.create_tenant(slug, slug, plan="unlimited")
        async with AsyncClient(self.url, self.operator_key, slug, retry=PATIENT) as operator:
            created = await operator.create_key("test", scopes=ALL_SCOPES)
        async with (
            AsyncClient(self.url, created.key, timeout_seconds=60, retry=PATIENT) as client,
            self.http(created.key) as http,
        ):
            yield Tenant(made.id, slug, created.key, client, http)

    @asynccontextmanager
    async def database(self, login: str = "") -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Yield a connection of the superuser, who sees every tenant's rows, or of another DSN's role."""
        port, password = (
            self.state.processes["postgres"].port,
            load_secrets(self.layout.secrets).postgres_password,
        )
        own = postgres.url(port, password, database=DATABASE)
        connection = await asyncpg.connect(login or own, timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """Yield a client of the platform's Redis."""
        settings = load(RedisSettings, {"REDIS_URL": self.plan.shared["REDIS_URL"]})
        client = open_redis(settings, timeout_seconds=10)
        try:
            yield client
        finally:
            await client.aclose()

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[NatsClient]:
        """Yield a connection to the platform's message bus."""
        settings = load(NatsSettings, {"NATS_URL": self.plan.shared["NATS_URL"]})
        async with broker.connect(settings, "test") as connection:
            yield connection

    @asynccontextmanager
    async def rpc(self) -> AsyncIterator[RpcClient]:
        """Yield how services ask each other."""
        async with self.bus() as connection:
            yield RpcClient(connection)

    @asynccontextmanager
    async def index(self, embedder_id: str, dimensions: int = 384) -> AsyncIterator[VectorIndex]:
        """Yield the vector index as services see it."""
        settings = load(QdrantSettings, {"QDRANT_URL": self.plan.shared["QDRANT_URL"]})
        async with connect_qdrant(settings) as client:
            yield VectorIndex(client, settings, embedder_id=embedder_id, dimensions=dimensions)


async def until(condition: Callable[[], Awaitable[T | None]], seconds: float, what: str) -> T:
    """Return the first true answer of `condition`; fails the test when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(POLL_SECONDS)
    return found


@contextmanager
def running_platform(settings: Mapping[str, str]) -> Iterator[Platform]:
    """Start a platform with `quarry up`; nothing of it is left afterwards, not even after a SIGKILL."""
    quarry_local = (sys.executable, "-m", "quarry_local")
    with temporary_folder(stop_command=(*quarry_local, "down")) as folder:
        layout = Layout(folder)
        layout.make()
        # As if it had run on these ports before: the usual ones stay free for a platform of this machine.
        ports = {name: free_port() for name in (*SERVERS, *service_names())}
        records = {name: ProcessRecord(name, "", port) for name, port in ports.items()}
        save_state(layout.state, State(processes=records))
        environ = environment(QUARRY_VAR=str(folder), HTTP_PORT=str(free_port()), **settings)
        try:
            _run((*quarry_local, "up"), environ, UP_SECONDS, layout)
            found = load_credentials(layout.credentials)
            assert found is not None, "`quarry up` left no credentials"
            yield Platform(layout, environ, found.url, found.operator_key)
        finally:
            _run((*quarry_local, "down"), environ, DOWN_SECONDS, layout)


def _run(command: tuple[str, ...], environ: Mapping[str, str], seconds: float, layout: Layout) -> None:
    done = subprocess.run(
        command, env=dict(environ), capture_output=True, text=True, timeout=seconds, check=False, cwd="/"
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{complaints(layout)}"


def complaints(layout: Layout, count: int = 20) -> str:
    """Return the last lines of each log that tell of something wrong."""
    found = []
    for path in sorted(layout.log("x").parent.glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()
        bad = [
            line for line in lines if any(word in line for word in ('"warning"', '"error"', "ERROR", "FATAL"))
        ]
        found += [f"{path.stem}: {line[:2000]}" for line in bad[-count:]]
    return "\n".join(found)
