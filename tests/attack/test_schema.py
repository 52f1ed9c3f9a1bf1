"""The API keeps to its own description, whatever schemathesis makes of it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.attack.conftest import Attacker
from tests.platform import Platform

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = "20260131"
SHORT_SECONDS = 240
FULL_SECONDS = 1800


async def run(platform: Platform, attacker: Attacker, folder: Path, *options: str, seconds: int) -> None:
    """Run schemathesis against the platform; what it finds fails the test."""
    # It would wait for the end of live streams, which have none. They have tests of their own.
    # Its own check of acceptance knows nothing of rules between fields; schema_checks has one that does.
    command = (
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
        "run", f"{platform.url}/openapi.json",
        "--header", f"X-API-Key: {attacker.operator_key}", "--header", f"X-Tenant: {attacker.own.slug}",
        "--exclude-path-regex", "/events/stream$", "--exclude-checks", "positive_data_acceptance",
        "--seed", SEED, "--generation-database", "none",
        "--request-timeout", "30", "--workers", "1", "--no-color", *options,
    )  # fmt: skip
    verdict = await attacker.own.client.verify_key(attacker.own.key)
    assert verdict.api_key is not None
    async with platform.tenant() as sacrificed:
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.attack.schema_checks",
                "SACRIFICED_TENANT": sacrificed.slug,
                "ATTACKERS_KEY": str(verdict.api_key.id),
            },
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    told = "\n".join(line[:2_000] for line in done.stdout.splitlines())
    assert done.returncode == 0, f"{told[-20_000:]}\n{done.stderr[-5_000:]}"


@pytest.mark.timeout(SHORT_SECONDS + 10)
async def test_the_api_keeps_to_its_description(
    platform: Platform, attacker: Attacker, tmp_path: Path
) -> None:
    await run(platform, attacker, tmp_path, "--max-examples", "10", seconds=SHORT_SECONDS)


@pytest.mark.full
@pytest.mark.timeout(FULL_SECONDS + 10)
async def test_the_api_keeps_to_its_description_for_long(
    platform: Platform, attacker: Attacker, tmp_path: Path
) -> None:
    await run(platform, attacker, tmp_path, "--max-examples", "300", seconds=FULL_SECONDS)
