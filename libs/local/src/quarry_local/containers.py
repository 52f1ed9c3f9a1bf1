"""Servers for tests from the official images, through testcontainers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from quarry_local.servers.launch import wait_until
from quarry_local.servers.postgres import check
from quarry_local.servers.wire import http_ready, nats_ready, redis_ready

POSTGRES_IMAGE = "postgres:17-alpine"
REDIS_IMAGE = "redis:7-alpine"
NATS_IMAGE = "nats:2.11-alpine"
QDRANT_IMAGE = "qdrant/qdrant:v1.16.0"
READY_SECONDS = 120.0
PASSWORD = "test"  # noqa: S105 - of containers that live for one test session


def wanted() -> bool:
    """Return whether the tests shall use containers: `TEST_SERVERS=containers`."""
    return os.environ.get("TEST_SERVERS", "local") == "containers"


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run Postgres and yield a superuser's DSN."""
    with _container(POSTGRES_IMAGE, 5432, environ={"POSTGRES_PASSWORD": PASSWORD}) as (host, port):
        dsn = f"postgresql://postgres:{PASSWORD}@{host}:{port}/postgres"
        wait_until(lambda: check(dsn), READY_SECONDS, "Postgres")
        yield dsn


@contextmanager
def redis_server() -> Iterator[str]:
    """Run Redis and yield its DSN."""
    with _container(REDIS_IMAGE, 6379, command=f"redis-server --requirepass {PASSWORD}") as (host, port):
        wait_until(lambda: redis_ready(port, PASSWORD, host), READY_SECONDS, "Redis")
        yield f"redis://:{PASSWORD}@{host}:{port}/0"


@contextmanager
def nats_server() -> Iterator[str]:
    """Run nats-server with JetStream and yield its address."""
    with _container(NATS_IMAGE, 4222, command=f"-js --user quarry --pass {PASSWORD}") as (host, port):
        wait_until(lambda: nats_ready(port, "quarry", PASSWORD, host), READY_SECONDS, "NATS")
        yield f"nats://quarry:{PASSWORD}@{host}:{port}"


@contextmanager
def qdrant_server() -> Iterator[str]:
    """Run Qdrant and yield its REST address."""
    with _container(QDRANT_IMAGE, 6333) as (host, port):
        address = f"http://{host}:{port}"
        wait_until(lambda: http_ready(f"{address}/readyz"), READY_SECONDS, "Qdrant")
        yield address


@contextmanager
def _container(
    image: str, port: int, *, command: str = "", environ: dict[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    # Imported here: it is a development dependency, and it looks for a Docker daemon when it is imported.
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    container = DockerContainer(image).with_exposed_ports(port)
    for name, value in (environ or {}).items():
        container = container.with_env(name, value)
    if command:
        container = container.with_command(command)
    with container:
        yield container.get_container_host_ip(), int(container.get_exposed_port(port))
