"""The whole platform on servers of an operator's own, each of which speaks TLS alone."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psutil
import pytest
from tests.platform import Platform, running_platform
from tests.tls import HOST, Authority, nats_program, postgres_program, redis_program, tls_proxy

from quarry_local.ports import free_port
from quarry_local.servers import vector_engine
from quarry_local.servers.postgres import ADMIN
from quarry_local.testing import running, temporary_folder

PASSWORD = "hunter2-of-the-operator"


@pytest.fixture(scope="module")
def over_tls() -> Iterator[Platform]:
    """A platform whose settings name the servers; NATS and Redis ask for a certificate, too."""
    with temporary_folder() as folder, ExitStack() as stack:
        authority = Authority(folder / "authority")
        cert, key = authority.issue("quarry")
        database, postgres_port = postgres_program(folder / "postgres", authority, PASSWORD)
        cache, redis_port = redis_program(folder / "redis", authority, PASSWORD, mutual=True)
        bus, nats_port = nats_program(folder / "nats", authority, PASSWORD, mutual=True)
        engine = vector_engine.program(folder / "vectors", free_port())
        for program in (database, cache, bus, engine):
            stack.enter_context(running(program, folder / f"{program.name}.log"))
        qdrant_port = stack.enter_context(tls_proxy(authority, engine.port))
        password = folder / "password"
        password.write_text(PASSWORD)
        settings = {
            "DATABASE_URL": f"postgresql://{ADMIN}:{PASSWORD}@{HOST}:{postgres_port}/quarry",
            "REDIS_URL": f"rediss://{HOST}:{redis_port}/0",
            "REDIS_PASSWORD_FILE": str(password),
            "REDIS_CONNECT_TIMEOUT_SECONDS": "2",
            "NATS_URL": f"tls://{HOST}:{nats_port}",
            "NATS_USER": "quarry",
            "NATS_PASSWORD_FILE": str(password),
            "QDRANT_URL": f"https://{HOST}:{qdrant_port}",
            **{f"{each}_CA_FILE": authority.ca_file for each in ("DATABASE", "REDIS", "NATS", "QDRANT")},
            **{f"{each}_CERT_FILE": cert for each in ("REDIS", "NATS")},
            **{f"{each}_KEY_FILE": key for each in ("REDIS", "NATS")},
        }
        yield stack.enter_context(running_platform(settings))


@pytest.mark.full
async def test_a_document_is_found_over_tls_alone(over_tls: Platform) -> None:
    async with httpx.AsyncClient(base_url=over_tls.url, trust_env=False) as anybody:
        health = (await anybody.get("/api/health")).json()
    assert {name: check["status"] for name, check in health["checks"].items()} == dict.fromkeys(
        ("database", "cache", "vector_index", "message_bus"), "healthy"
    )

    async with over_tls.tenant() as tenant:
        await tenant.put("pump", "The impeller of the pump was worn.")
        answer = await tenant.search("impeller")

    assert [result.external_id for result in answer.results] == ["pump"]
    assert set(over_tls.state.processes) >= {"gateway", "indexer", "search", "tenants", "webhooks"}
    assert not set(over_tls.state.processes) & {"postgres", "redis", "nats", "vector-engine"}


@pytest.mark.full
def test_no_password_is_on_a_command_line_or_in_a_file_of_others(over_tls: Platform) -> None:
    secrets = json.loads(over_tls.layout.secrets.read_text()).values()
    words = [PASSWORD, over_tls.operator_key, *secrets]

    lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if any(word in line for word in words)] == []
    files = [path for path in over_tls.layout.var.rglob("*") if path.is_file() and not path.is_symlink()]
    holding = [path for path in files if any(word.encode() in path.read_bytes() for word in words)]
    assert {path.name for path in holding} == {"secrets.json", "credentials.json"}
    assert [path for path in holding if path.stat().st_mode & 0o077] == []
