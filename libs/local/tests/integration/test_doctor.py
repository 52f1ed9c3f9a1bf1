"""What `quarry doctor` finds of servers that the environment names."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.tls import HOST, Authority, redis_program

from quarry_local.commands import doctor
from quarry_local.ports import free_port
from quarry_local.testing import PASSWORD, StartServer

WRONG = "hunter2"


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Returns what the command writes when it is given settings."""
    monkeypatch.setenv("QUARRY_VAR", str(tmp_path))
    for name in ("DATABASE_URL", "REDIS_URL", "NATS_URL", "QDRANT_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(**settings: str) -> Result:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(doctor)

    return run


def finding(result: Result, name: str) -> tuple[str, str]:
    """Return the line about a server, and what is advised below it."""
    lines = result.output.splitlines()
    number = next(number for number, line in enumerate(lines) if f" {name} " in line)
    return lines[number], lines[number + 1] if "->" in lines[number + 1] else ""


def test_servers_that_let_it_in_answer(examined, postgres_admin_dsn, redis_url, nats_url, qdrant_url) -> None:
    result = examined(
        DATABASE_URL=postgres_admin_dsn, REDIS_URL=redis_url, NATS_URL=nats_url, QDRANT_URL=qdrant_url
    )

    for name in ("DATABASE_URL", "REDIS_URL", "NATS_URL", "QDRANT_URL"):
        assert finding(result, name)[0].split() == ["ok", name, "answers"]


def test_a_refused_login_is_told_and_not_shown(examined, postgres_admin_dsn, redis_url, nats_url) -> None:
    given = {"DATABASE_URL": postgres_admin_dsn, "REDIS_URL": redis_url, "NATS_URL": nats_url}
    wrong = {name: url.replace(f":{PASSWORD}@", f":{WRONG}@") for name, url in given.items()}

    result = examined(**wrong)

    said = "password authentication failed", "Redis refuses the login", "The NATS server refuses the login"
    for name, words in zip(given, said, strict=True):
        line, advice = finding(result, name)
        assert line.startswith("BAD")
        assert words in line
        assert name in line + advice
    assert result.exit_code == 1
    assert WRONG not in result.output


def test_a_server_that_is_not_there_may_be_left_to_quarry(examined) -> None:
    result = examined(NATS_URL=f"nats://{HOST}:{free_port()}", QDRANT_URL=f"http://{HOST}:{free_port()}")

    for name in ("NATS_URL", "QDRANT_URL"):
        line, advice = finding(result, name)
        assert line.startswith("BAD")
        assert f"correct {name}, or unset it to have one started here" in advice


def test_settings_and_certificates_are_checked_too(
    examined, server_folder: Path, start_server: StartServer, tmp_path: Path
) -> None:
    authority = Authority(server_folder / "doctor" / "authority")
    program, port = redis_program(server_folder / "doctor" / "redis", authority, PASSWORD)
    start_server(program)
    address = tmp_path / "redis-url"
    address.write_text(f"rediss://:{PASSWORD}@{HOST}:{port}/0\n")

    trusted = examined(REDIS_URL_FILE=str(address), REDIS_CA_FILE=authority.ca_file)
    assert finding(trusted, "REDIS_URL")[0].split() == ["ok", "REDIS_URL", "answers"]
    unknown = examined(REDIS_CA_FILE="")
    assert "not trusted" in finding(unknown, "REDIS_URL")[0]
    missing = examined(REDIS_CA_FILE="/nowhere")
    assert "REDIS_CA_FILE: cannot be read" in finding(missing, "REDIS_URL")[0]
