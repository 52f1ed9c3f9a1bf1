"""Which processes the platform consists of, and the environment of each."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from quarry_common.settings import value_of
from quarry_local.errors import LocalError
from quarry_local.layout import Layout, project_root
from quarry_local.ports import LOOPBACK, free_port
from quarry_local.secret_store import Secrets
from quarry_local.servers import nats, postgres, redis, vector_engine
from quarry_local.servers.binaries import NATS, POSTGRES, REDIS, Wanted
from quarry_local.servers.program import Program
from quarry_local.servers.wire import http_ready
from quarry_local.state import State

DATABASE = "quarry"
DEFAULT_HTTP_PORT = 8080
USUAL_PORTS = {"postgres": 15432, "redis": 16379, "nats": 14222, "vector-engine": 16333}
FIRST_OPS_PORT = 18081
SERVICE_READY_SECONDS = 120.0
SERVICE_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that shall run. Servers named by a URL in the environment are not in it."""

    servers: tuple[Program, ...]
    services: tuple[Program, ...]
    shared: Mapping[str, str]
    """The environment of `quarry migrate`, and of each service without what is its own."""
    http_port: int


def needed(environ: Mapping[str, str]) -> list[Wanted]:
    """Return the programs that the platform starts itself, because no URL names another server."""
    return [each for each in (POSTGRES, REDIS, NATS) if not value_of(each.variable, environ)]


def service_names() -> list[str]:
    """Return every installed service; the gateway comes last, because it needs the others."""
    names = {entry.name for entry in entry_points(group="quarry.services")}
    return sorted(names, key=lambda name: (name == "gateway", name))


def http_port(environ: Mapping[str, str]) -> int:
    """Return the port of the HTTP API: HTTP_PORT, else 8080."""
    given = environ.get("HTTP_PORT") or str(DEFAULT_HTTP_PORT)
    if not given.isdecimal() or not 0 < int(given) < 65_536:
        raise LocalError(
            f"HTTP_PORT is {given!r}, which is no port.",
            advice="Give a number from 1 to 65535, such as 8081.",
        )
    return int(given)


def make_plan(layout: Layout, secrets: Secrets, environ: Mapping[str, str], last: State) -> Plan:
    """Return what shall run, on the ports of the last time as far as they are free or still ours."""
    ports = _Ports(last)
    servers: list[Program] = []
    urls: dict[str, str] = {}

    if not (admin_dsn := value_of("DATABASE_URL", environ)):
        port = ports.take("postgres", USUAL_PORTS["postgres"])
        servers.append(postgres.program(layout.var / "postgres", port, secrets.postgres_password, DATABASE))
        admin_dsn = postgres.url(port, secrets.postgres_password, database=DATABASE)
    if not value_of("REDIS_URL", environ):
        port = ports.take("redis", USUAL_PORTS["redis"])
        servers.append(redis.program(layout.var / "redis", port, secrets.redis_password))
        urls["REDIS_URL"] = redis.url(port, secrets.redis_password)
    if not value_of("NATS_URL", environ):
        port = ports.take("nats", USUAL_PORTS["nats"])
        servers.append(nats.program(layout.var / "nats", port, secrets.nats_password))
        urls["NATS_URL"] = nats.url(port, secrets.nats_password)
    if not value_of("QDRANT_URL", environ):
        port = ports.take("vector-engine", USUAL_PORTS["vector-engine"])
        servers.append(vector_engine.program(layout.var / "vectors", port))
        urls["QDRANT_URL"] = vector_engine.url(port)

    shared = {
        **environ,
        **urls,
        "MIGRATE_DATABASE_URL": value_of("MIGRATE_DATABASE_URL", environ) or admin_dsn,
        "DATABASE_ROLE_PASSWORD": secrets.role_password,
        "BLOB_URL": environ.get("BLOB_URL") or f"file:{layout.blobs}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    public = http_port(environ)
    made = {
        "tenants": {"OPERATOR_KEY": secrets.operator_key},
        "webhooks": {"WEBHOOK_ENCRYPTION_KEYS": secrets.webhook_encryption_key},
        "gateway": {"EVENT_TOKEN_KEYS": secrets.event_token_key},
    }
    private = {
        service: {name: value_of(name, environ) or value for name, value in own.items()}
        for service, own in made.items()
    }
    services = tuple(
        _service(
            name,
            layout,
            ports.take(name, FIRST_OPS_PORT + index),
            _service_environment(name, shared, admin_dsn, secrets.role_password, public, private),
        )
        for index, name in enumerate(service_names())
    )
    return Plan(tuple(servers), services, shared, public)


def quarry_command() -> tuple[str, ...]:
    """Return how the `quarry` command of this installation is started."""
    command = Path(sys.executable).with_name("quarry")
    if not command.is_file():
        raise LocalError(
            f"The command {command} is not installed.", advice="Run `make install`; it installs every part."
        )
    return (str(command),)


def _service_environment(
    name: str,
    shared: Mapping[str, str],
    admin_dsn: str,
    role_password: str,
    public: int,
    private: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    # A service never sees the login of the role that owns the schemas, nor another service's.
    own = {key: value for key, value in shared.items() if not key.startswith("MIGRATE_")}
    del own["DATABASE_ROLE_PASSWORD"]
    own["DATABASE_URL"] = postgres.with_login(admin_dsn, f"quarry_{name}", role_password)
    for variable in (variable for secrets in private.values() for variable in secrets):
        own.pop(variable, None)
        own.pop(f"{variable}_FILE", None)
    own.update(private.get(name, {}))
    if name == "gateway":
        own["HTTP_PORT"] = str(public)
    return own


def _service(name: str, layout: Layout, port: int, environ: Mapping[str, str]) -> Program:
    pages = f"http://{LOOPBACK}:{port}/readyz"
    api = f"http://{LOOPBACK}:{environ['HTTP_PORT']}/readyz" if name == "gateway" else ""
    root = project_root()
    return Program(
        name=name,
        argv=(*quarry_command(), "run", name),
        port=port,
        folder=root if root.is_dir() else layout.var,
        environ={**environ, "OPS_HOST": LOOPBACK, "OPS_PORT": str(port)},
        ready=lambda: http_ready(pages) or (http_ready(api) if api else ""),
        stop_signal=signal.SIGTERM,
        stop_seconds=SERVICE_STOP_SECONDS,
        ready_seconds=SERVICE_READY_SECONDS,
    )


class _Ports:
    """Hands out ports, each once; a process that still runs from the last time keeps its own."""

    def __init__(self, last: State) -> None:
        self._last = last
        self._given: set[int] = set()

    def take(self, name: str, usual: int) -> int:
        record = self._last.processes.get(name)
        if record and record.identity and record.identity.process():
            port = record.port
        else:
            port = free_port(record.port if record else usual)
        while port in self._given:
            port = free_port()
        self._given.add(port)
        return port
