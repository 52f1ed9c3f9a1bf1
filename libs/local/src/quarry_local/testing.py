"""Servers for tests: started when a test first asks for one, once per session, gone afterwards.

The root `conftest.py` registers this module, so every test may use its fixtures: `postgres_admin_dsn`,
`database_dsn`, `redis_url`, `nats_url`, `qdrant_url`, `server_folder`.

Servers are the local binaries on free ports, or the official images through testcontainers where
`TEST_SERVERS=containers`. `QDRANT_TEST_URL` names a Qdrant server to use instead of the embedded engine.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from quarry_local import containers
from quarry_local.ports import free_port
from quarry_local.servers import nats, postgres, redis, vector_engine
from quarry_local.servers.accounts import may_pass, unprivileged_user
from quarry_local.servers.launch import run_to_ready, stop
from quarry_local.servers.program import Program

PASSWORD = "test"  # noqa: S105 - of servers on loopback that live for one test session
# Waits, in a session of its own, for the end of its input: that is the end of the tests, however they end
# (SIGKILL too). The kernel has ended the servers by then; it runs what stops the others, if anything does,
# and removes what they left on the disk.
_JANITOR = """
trap "" INT TERM HUP
read -r _
[ $# -eq 0 ] || "$@"
for _ in $(seq 100); do rm -rf -- "$0" && exit; sleep 0.1; done
"""
_JANITOR_SECONDS = 60.0


def create_database(admin_dsn: str, prefix: str = "test") -> str:
    """Create a fresh, empty database and return its DSN; it goes with the test session's server."""
    return postgres.create_database(admin_dsn, f"{prefix}_{secrets.token_hex(6)}")


@contextmanager
def running(program: Program, log: Path) -> Iterator[psutil.Process]:
    """Run a server until the block ends; it also ends when this process dies."""
    process = run_to_ready(program, log, die_with_parent=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        stop(program, psutil.Process(process.pid) if process.poll() is None else None)
        process.wait(timeout=5)


@contextmanager
def temporary_folder(stop_command: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a folder that every server's account may reach and that is removed even after a SIGKILL.

    `stop_command` is run before that, with the folder as QUARRY_VAR: it ends what outlives this process.
    """
    folder = Path(tempfile.mkdtemp(prefix="quarry-test-", dir=_temporary_root()))
    folder.chmod(0o711)
    janitor = subprocess.Popen(  # noqa: S603 - the script above
        ["/bin/sh", "-c", _JANITOR, str(folder), *stop_command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={**os.environ, "QUARRY_VAR": str(folder)},
    )
    try:
        yield folder
    finally:
        assert janitor.stdin is not None  # noqa: S101
        janitor.stdin.close()
        janitor.wait(timeout=_JANITOR_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Return the folder of this session's servers; their logs are in it until the session ends."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def start_server(server_folder: Path) -> Iterator[Callable[[Program], psutil.Process]]:
    """Return a function that starts a program which then runs until the session ends."""
    with ExitStack() as running_servers:

        def start(program: Program) -> psutil.Process:
            log = server_folder / f"{program.name}-{program.port}.log"
            return running_servers.enter_context(running(program, log))

        yield start


StartServer = Callable[[Program], psutil.Process]


@pytest.fixture(scope="session")
def postgres_admin_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the DSN of a superuser of the session's Postgres."""
    if containers.wanted():
        with containers.postgres_server() as dsn:
            yield dsn
        return
    port, folder = free_port(), request.getfixturevalue("server_folder")
    request.getfixturevalue("start_server")(
        postgres.program(folder / "postgres", port, PASSWORD, "quarry", durable=False)
    )
    yield postgres.url(port, PASSWORD, database="postgres")


@pytest.fixture(scope="session")
def database_dsn(postgres_admin_dsn: str) -> str:
    """Return the superuser's DSN of one fresh database for the session; `create_database` makes more."""
    return create_database(postgres_admin_dsn)


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the DSN of the session's Redis."""
    if containers.wanted():
        with containers.redis_server() as dsn:
            yield dsn
        return
    port, folder = free_port(), request.getfixturevalue("server_folder")
    request.getfixturevalue("start_server")(redis.program(folder / "redis", port, PASSWORD, durable=False))
    yield redis.url(port, PASSWORD)


@pytest.fixture(scope="session")
def nats_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of the session's nats-server, JetStream enabled."""
    yield from nats_server(request, "nats")


def nats_server(request: pytest.FixtureRequest, name: str) -> Iterator[str]:
    """Yield the address of a nats-server of that name: for tests that answer in the place of services."""
    if containers.wanted():
        with containers.nats_server() as address:
            yield address
        return
    port, folder = free_port(), request.getfixturevalue("server_folder")
    request.getfixturevalue("start_server")(nats.program(folder / name, port, PASSWORD))
    yield nats.url(port, PASSWORD)


@pytest.fixture(scope="session")
def qdrant_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the REST address of the session's vector index: the embedded engine, or a real Qdrant."""
    if given := os.environ.get("QDRANT_TEST_URL"):
        yield given
        return
    if containers.wanted():
        with containers.qdrant_server() as address:
            yield address
        return
    port, folder = free_port(), request.getfixturevalue("server_folder")
    request.getfixturevalue("start_server")(vector_engine.program(folder / "vectors", port))
    yield vector_engine.url(port)


def _temporary_root() -> str:
    """Return a folder for temporary files that Postgres's account may walk down to."""
    user = unprivileged_user()
    usual = Path(tempfile.gettempdir())
    return str(usual if user is None or may_pass(usual, user) else Path("/var/tmp"))  # noqa: S108
