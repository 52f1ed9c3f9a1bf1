import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.tls import Authority, nats_program, postgres_program, redis_program

from quarry_common.errors import QuarryError
from quarry_local.servers.program import Program
from quarry_local.testing import running

PASSWORD = "hunter2-of-the-test"

Run: TypeAlias = Callable[[Program], None]
Told: TypeAlias = Callable[[QuarryError], str]


@pytest.fixture(scope="session")
def folder(server_folder: Path) -> Path:
    """A folder that every server's account may reach."""
    return server_folder / "transport"


@pytest.fixture(scope="session")
def authority(folder: Path) -> Authority:
    return Authority(folder / "authority")


@pytest.fixture(scope="session")
def stranger(folder: Path) -> Authority:
    """An authority that issued none of the servers' certificates."""
    return Authority(folder / "stranger")


@pytest.fixture(scope="session")
def run(folder: Path) -> Iterator[Run]:
    """Runs a server until the tests are over."""
    with ExitStack() as stack:

        def start(program: Program) -> None:
            stack.enter_context(running(program, folder / f"{program.name}-{program.port}.log"))

        yield start


@pytest.fixture(scope="session")
def postgres_port(folder: Path, authority: Authority, run: Run) -> int:
    """Where a Postgres speaks TLS alone."""
    program, port = postgres_program(folder / "postgres", authority, PASSWORD)
    run(program)
    return port


@pytest.fixture(scope="session")
def nats_port(folder: Path, authority: Authority, run: Run) -> int:
    """Where a nats-server speaks TLS alone."""
    program, port = nats_program(folder / "nats", authority, PASSWORD)
    run(program)
    return port


@pytest.fixture(scope="session")
def redis_port(folder: Path, authority: Authority, run: Run) -> int:
    """Where a Redis speaks TLS."""
    program, port = redis_program(folder / "redis", authority, PASSWORD)
    run(program)
    return port


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """Returns what is told of an error; in that, in logs and in traces the password must not be."""

    def tell(error: QuarryError) -> str:
        trace = "".join(traceback.format_exception(error))
        assert PASSWORD not in f"{trace}{error.data}{caplog.text}"
        return f"{error.data.detail} {error.data.advice}"

    return tell
