import os
import socket
import stat
from pathlib import Path

import pytest

from quarry_local.errors import LocalError, PortInUseError
from quarry_local.layout import Layout, write_private
from quarry_local.logs import last_lines, rotate
from quarry_local.minding import restart_delay
from quarry_local.plan import http_port, make_plan, needed
from quarry_local.ports import require_free
from quarry_local.secret_store import load_secrets
from quarry_local.servers import nats, postgres
from quarry_local.servers.accounts import folder_for, remove_folder, unprivileged_user
from quarry_local.state import State, load_state
from quarry_local.status import span


def test_restarts_wait_longer_each_time_and_at_most_30_seconds() -> None:
    assert [restart_delay(deaths) for deaths in range(1, 10)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restart_delay(10_000) == 30


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = load_secrets(path)
    assert load_secrets(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len({first.postgres_password, first.role_password, first.redis_password, first.nats_password}) == 4


def test_a_server_may_be_named_by_a_file(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path / "secrets.json")
    dsn = tmp_path / "dsn"
    dsn.write_text("postgresql://admin:hunter2@db.example:5432/quarry?sslmode=verify-full\n")
    environ = {
        "DATABASE_URL_FILE": str(dsn),
        "DATABASE_CA_FILE": "/ca.pem",
        "REDIS_URL_FILE": str(dsn),
        "NATS_URL_FILE": str(dsn),
        "QDRANT_URL_FILE": str(dsn),
    }

    plan = make_plan(Layout(tmp_path), secrets, environ, State())

    assert needed(environ) == []
    assert plan.servers == ()
    (indexer,) = (each for each in plan.services if each.name == "indexer")
    login = f"postgresql://quarry_indexer:{secrets.role_password}@db.example"
    assert indexer.environ["DATABASE_URL"] == f"{login}:5432/quarry?sslmode=verify-full"
    assert indexer.environ["DATABASE_CA_FILE"] == "/ca.pem"


def test_each_secret_is_given_to_the_one_service_that_needs_it(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path / "secrets.json")
    elsewhere = {
        "DATABASE_URL": "postgresql://db.example/quarry",
        "REDIS_URL": "redis://redis.example",
        "NATS_URL": "nats://nats.example",
        "QDRANT_URL": "http://qdrant.example",
    }
    own = {**elsewhere, "WEBHOOK_ENCRYPTION_KEYS": "of-the-operator", "WEBHOOK_ALLOW_HTTP": "true"}

    made = make_plan(Layout(tmp_path), secrets, elsewhere, State())
    given = make_plan(Layout(tmp_path), secrets, own, State())

    for variable, service in (("OPERATOR_KEY", "tenants"), ("WEBHOOK_ENCRYPTION_KEYS", "webhooks")):
        for plan in (made, given):
            assert {each.name for each in plan.services if variable in each.environ} == {service}
    first, second = (each for plan in (made, given) for each in plan.services if each.name == "webhooks")
    assert first.environ["WEBHOOK_ENCRYPTION_KEYS"] == secrets.webhook_encryption_key
    assert second.environ["WEBHOOK_ENCRYPTION_KEYS"] == "of-the-operator"
    assert second.environ["WEBHOOK_ALLOW_HTTP"] == "true"


def test_broken_secrets_are_told_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("{")
    with pytest.raises(LocalError, match="cannot be read"):
        load_secrets(path)
    assert path.read_text() == "{"


def test_a_private_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_that_has_grown_is_copied_and_emptied(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for round_ in range(4):
        log.write_text(f"round {round_}\n" * 10)
        assert rotate(log, limit_bytes=50)
        assert log.read_text() == ""
    assert (tmp_path / "a.log.1").read_text().startswith("round 3")
    assert (tmp_path / "a.log.2").read_text().startswith("round 2")
    assert not (tmp_path / "a.log.3").exists()
    assert not rotate(log, limit_bytes=50)


def test_last_lines_are_bounded(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("1\n2\n3\n")
    assert last_lines(log, 2) == ["2", "3"]


def test_nats_gets_its_sync_interval_only_where_it_is_known() -> None:
    assert "sync_interval" not in nats.configuration(Path("/x"), 1, "p", "2.9.10")
    assert "sync_interval" in nats.configuration(Path("/x"), 1, "p", "2.10.0")


def test_a_login_replaces_the_one_in_a_dsn() -> None:
    dsn = "postgresql://admin:x@db.example:6432/quarry?sslmode=require"
    changed = postgres.with_login(dsn, "quarry_search", "p/w")
    assert changed == "postgresql://quarry_search:p%2Fw@db.example:6432/quarry?sslmode=require"


@pytest.mark.parametrize("given", ["0", "65536", "eighty", "-1"])
def test_a_wrong_http_port_is_refused(given: str) -> None:
    with pytest.raises(LocalError, match="HTTP_PORT"):
        http_port({"HTTP_PORT": given})


def test_a_taken_port_is_told_with_its_holder_and_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        expected = rf"Port {port} is in use by \S+ \(pid {os.getpid()}\)"
        with pytest.raises(PortInUseError, match=expected) as raised:
            require_free(port, advice="Take another.")
    assert raised.value.data.advice == "Take another."


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that Postgres's account may not enter")
def test_data_below_a_closed_folder_lives_in_var_lib(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    wanted = tmp_path / "var" / "postgres"
    user = unprivileged_user()
    real = folder_for(wanted, user)
    try:
        real.mkdir()
        assert real.is_relative_to("/var/lib")
        assert wanted.resolve() == real
        assert folder_for(wanted, user) == real
    finally:
        remove_folder(wanted)
    assert not real.parent.exists()
    assert not wanted.is_symlink()


def test_an_unreadable_state_tells_that_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text("nonsense")
    assert load_state(tmp_path / "platform.json") == State()


def test_spans_read_well() -> None:
    assert [span(s) for s in (0, 42, 185, 7_800, 349_200)] == ["0s", "42s", "3m 5s", "2h 10m", "4d 1h"]
