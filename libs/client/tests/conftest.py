"""The commands, run against a small platform behind a real HTTP server."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from libs.client.tests.http_server import Server, running_server
from libs.client.tests.platform import Platform

from quarry_client.cli import main

Quarry = Callable[..., Result]


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each line that has some by their first, as words."""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: words[1:] for words in lines if words}


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def served(platform: Platform) -> Iterator[Server]:
    with running_server(platform) as server:
        yield server


@pytest.fixture
def quarry(served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quarry:
    """Run `quarry` with the address and key of the platform in its environment, in an empty folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    environment = {"QUARRY_URL": served.url, "QUARRY_API_KEY": "secret", "QUARRY_TENANT": None}

    def run(*arguments: object, env: dict[str, str | None] | None = None, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(
            main, [str(a) for a in arguments], env=environment | (env or {}), input=stdin
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def python() -> str:
    return sys.executable
