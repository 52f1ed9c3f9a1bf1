"""Processes whose login is refused: each says which setting, and writes the password nowhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tls import HOST, Authority

from quarry_local.servers.postgres import ADMIN

from .conftest import PASSWORD

WRONG = "letmein-of-the-test"

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from quarry_common.cache.cache import open_cache
from quarry_common.cache.settings import CacheSettings
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.postgres.pool import connect_pool
from quarry_common.service import Service, ServiceDefinition, run
from quarry_common.settings import NatsSettings, PostgresSettings, ProcessSettings


class Settings(ProcessSettings, NatsSettings, PostgresSettings, CacheSettings):
    pass


class Worked(Exception):
    pass


async def compute():
    return b"value"


@asynccontextmanager
async def build(settings):
    async with (
        broker.connect(settings, "probe"),
        connect_pool(settings, "probe") as database,
        open_cache(settings, "probe") as cache,
    ):
        await database.check()
        for number in range(6):
            await cache.get_or_compute(new_id(), f"{number}", compute)
        raise Worked(f"redis {cache._redis.breaker.state.name}")
        yield Service(parts=[])


sys.exit(run(ServiceDefinition("probe", Settings, build)))
"""


@pytest.fixture
def environment(authority: Authority, nats_port: int, postgres_port: int, redis_port: int) -> dict[str, str]:
    """Return the settings of a process that is let in everywhere."""
    return {
        "NATS_URL": f"tls://{HOST}:{nats_port}",
        "NATS_CA_FILE": authority.ca_file,
        "NATS_USER": "quarry",
        "NATS_PASSWORD": PASSWORD,
        "DATABASE_URL": f"postgresql://{ADMIN}:{PASSWORD}@{HOST}:{postgres_port}/quarry",
        "DATABASE_CA_FILE": authority.ca_file,
        "REDIS_URL": f"rediss://{HOST}:{redis_port}/0",
        "REDIS_PASSWORD": PASSWORD,
        "REDIS_CA_FILE": authority.ca_file,
        "REDIS_CONNECT_TIMEOUT_SECONDS": "2",
        "LOG_LEVEL": "DEBUG",
    }


def written(environment: dict[str, str]) -> str:
    """Return all that a process writes until it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout + done.stderr


def test_a_process_that_is_let_in_everywhere_works(environment: dict[str, str], tmp_path: Path) -> None:
    secrets = {}
    for name in ("NATS_PASSWORD", "DATABASE_URL", "REDIS_PASSWORD"):
        path = tmp_path / name
        path.write_text(f"{environment[name]}\n")
        secrets |= {name: "", f"{name}_FILE": str(path)}

    said = written({**environment, **secrets})

    assert "redis CLOSED" in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NATS_PASSWORD", "Correct NATS_USER and NATS_PASSWORD"),
        ("DATABASE_URL", "Correct the login in DATABASE_URL"),
        ("REDIS_PASSWORD", "Correct the login in REDIS_URL, or REDIS_PASSWORD"),
    ],
)
def test_a_wrong_password_is_told_and_not_shown(environment: dict[str, str], name: str, words: str) -> None:
    said = written({**environment, name: environment[name].replace(PASSWORD, WRONG)})

    assert words in said
    assert WRONG not in said
    assert PASSWORD not in said
