import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import nats as nats_client
import psutil
import pytest
from redis.asyncio import Redis

from quarry_local.errors import StartError
from quarry_local.ports import free_port
from quarry_local.servers import nats, postgres, redis, vector_engine
from quarry_local.servers.launch import run_to_ready, stop, wait_until
from quarry_local.servers.program import Program
from quarry_local.testing import create_database, running, temporary_folder


def make(kind: str, folder: Path, port: int) -> Program:
    if kind == "postgres":
        return postgres.program(folder / "postgres", port, "s3cret", "quarry", durable=False)
    if kind == "redis":
        return redis.program(folder / "redis", port, "s3cret")
    return nats.program(folder / "nats", port, "s3cret")


def memory_in_use(folder: Path) -> str:
    """Tell which processes still work in the folder: those of a killed postmaster end a moment after it."""
    inside = [p.pid for p in psutil.process_iter() if _works_in(p, folder)]
    return f"processes {inside}" if inside else ""


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


KINDS = ["postgres", "redis", "nats"]


async def test_session_postgres_asks_for_the_password_and_has_utf8(postgres_admin_dsn: str) -> None:
    dsn = create_database(postgres_admin_dsn)
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT lower('ÄÖ')") == "äö"
    assert await connection.fetchval("SHOW server_encoding") == "UTF8"
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.with_login(dsn, "postgres", "wrong"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_password_is_on_no_command_line_and_in_no_file_of_others(kind: str, server_folder: Path) -> None:
    folder, log = server_folder / f"secret-{kind}", server_folder / f"secret-{kind}.log"
    program = make(kind, folder, free_port())
    folder.mkdir(mode=0o711)
    for conf in ("redis.conf", "nats.conf"):
        (folder / conf).touch(mode=0o644)  # as somebody may have left it

    with running(program, log) as process:
        family = [process, *process.children(recursive=True)]
        assert not [each.cmdline() for each in family if "s3cret" in " ".join(each.cmdline())]
        holding = [path for path in folder.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]

    assert len(holding) == (0 if kind == "postgres" else 1)
    assert [path for path in holding if path.stat().st_mode & 0o077] == []
    assert "s3cret" not in log.read_text()


async def test_nobody_gets_into_postgres_without_a_password(postgres_admin_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_admin_dsn)
    methods = await connection.fetch("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    stored = await connection.fetch("SELECT rolname FROM pg_authid WHERE rolpassword !~ '^SCRAM-SHA-256'")
    await connection.close()

    assert [row["auth_method"] for row in methods] == ["scram-sha-256"]
    assert stored == []


def test_each_database_is_fresh(postgres_admin_dsn: str) -> None:
    assert create_database(postgres_admin_dsn) != create_database(postgres_admin_dsn)


async def test_session_redis_asks_for_the_password_and_evicts_by_use(redis_url: str) -> None:
    client = Redis.from_url(redis_url, decode_responses=True)
    settings = await client.config_get("maxmemory*")
    await client.aclose()
    assert settings["maxmemory-policy"] == "allkeys-lru"
    assert int(settings["maxmemory"] or 0) == 256 * 1024 * 1024
    assert ":test@" in redis_url


async def test_session_nats_has_jetstream(nats_url: str) -> None:
    connection = await nats_client.connect(nats_url)
    account = await connection.jetstream().account_info()
    assert account.limits.max_storage != 0
    assert connection.max_payload == 8 * 1024 * 1024
    await connection.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_starts_again_in_its_folder(kind: str, server_folder: Path) -> None:
    program = make(kind, server_folder / f"killed-{kind}", free_port())
    log = server_folder / f"killed-{kind}.log"
    first = run_to_ready(program, log, die_with_parent=True)
    first.kill()
    first.wait(timeout=10)
    wait_until(lambda: memory_in_use(program.folder), 30, "the end of the killed server's children")
    with running(program, log) as again:
        assert again.pid != first.pid
        assert program.ready() == ""


def test_the_vector_engine_has_the_allocator_that_redis_brings_along(tmp_path: Path) -> None:
    program = vector_engine.program(tmp_path / "vectors", free_port())
    with running(program, tmp_path / "vectors.log") as process:
        assert "libjemalloc" in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_stops_when_asked(kind: str, server_folder: Path) -> None:
    program = make(kind, server_folder / f"stopped-{kind}", free_port())
    process = run_to_ready(program, server_folder / f"stopped-{kind}.log", die_with_parent=True)
    assert stop(program, psutil.Process(process.pid))
    assert process.wait(timeout=5) in (0, -signal.SIGTERM, 1)
    assert program.ready() != ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_in_use_is_told_with_its_holder(kind: str, server_folder: Path, nats_url: str) -> None:
    taken = int(str(nats_url.rpartition(":")[2]))
    program = make(kind, server_folder / f"taken-{kind}", taken)
    with pytest.raises(
        StartError, match=f"{kind} cannot listen on port {taken}: it is in use by nats-server"
    ):
        run_to_ready(program, server_folder / f"taken-{kind}.log", die_with_parent=True)


def test_a_broken_postgres_folder_is_told(server_folder: Path) -> None:
    program = make("postgres", server_folder / "broken", free_port())
    log = server_folder / "broken.log"
    with running(program, log):
        pass
    (program.folder / "global" / "pg_control").unlink()
    with pytest.raises(StartError, match="broken or incomplete") as raised:
        run_to_ready(program, log, die_with_parent=True)
    assert "backup" in raised.value.data.advice


def test_a_folder_of_another_postgres_version_is_told(server_folder: Path) -> None:
    program = make("postgres", server_folder / "older", free_port())
    with running(program, server_folder / "older.log"):
        pass
    (program.folder / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(StartError, match="made by another version of Postgres"):
        run_to_ready(program, server_folder / "older.log", die_with_parent=True)


def test_a_second_postgres_in_the_same_folder_is_told(server_folder: Path) -> None:
    program = make("postgres", server_folder / "twice", free_port())
    other = make("postgres", server_folder / "twice", free_port())
    with (
        running(program, server_folder / "twice.log"),
        pytest.raises(StartError, match="Another Postgres runs in the data folder"),
    ):
        run_to_ready(other, server_folder / "twice-other.log", die_with_parent=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_wrong_permissions_are_told(server_folder: Path) -> None:
    program = make("postgres", server_folder / "denied", free_port())
    log = server_folder / "denied.log"
    with running(program, log):
        pass
    control = program.folder / "global" / "pg_control"
    os.chown(control, 0, 0)
    control.chmod(0o600)
    with pytest.raises(StartError, match="may not read or write in its folder"):
        run_to_ready(program, log, die_with_parent=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_full_disk_is_told(kind: str, server_folder: Path) -> None:
    disk = server_folder / f"disk-{kind}"
    disk.mkdir(mode=0o711)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=711", "quarry-test", str(disk)], check=False, timeout=10
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let mount")
    try:
        program = make(kind, disk, free_port())
        program.folder.mkdir()
        (disk / "filler").write_bytes(b"")
        _fill(disk / "filler")
        with pytest.raises(StartError, match=r"the disk that holds .* is full"):
            run_to_ready(program, server_folder / f"disk-{kind}.log", die_with_parent=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=10)


def _fill(path: Path) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
    except OSError:
        return


CHILD = """
import sys, time
from pathlib import Path
from quarry_local.ports import free_port
from quarry_local.servers import postgres, redis, nats
from quarry_local.servers.launch import run_to_ready
from quarry_local.testing import temporary_folder
with temporary_folder() as folder:
    programs = [
        postgres.program(folder / "postgres", free_port(), "x", "quarry", durable=False),
        redis.program(folder / "redis", free_port(), "x"),
        nats.program(folder / "nats", free_port(), "x"),
    ]
    pids = [run_to_ready(program, folder / "log", die_with_parent=True).pid for program in programs]
    print(folder, *pids, flush=True)
    sys.stdin.read()
"""


def test_a_killed_test_run_leaves_nothing_behind() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    folder, *pids = child.stdout.readline().split()
    servers = [psutil.Process(int(pid)) for pid in pids]
    child.kill()
    child.wait(timeout=10)
    child.stdin.close()
    child.stdout.close()
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert alive == []
    deadline = time.monotonic() + 20
    while Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


STOPPED_CHILD = """
import sys
from quarry_local.testing import temporary_folder
script = 'echo stopped > "$0"; test -d "$QUARRY_VAR" && echo "$QUARRY_VAR" >> "$0"'
stop = ("/bin/sh", "-c", script, sys.argv[1])
with temporary_folder(stop_command=stop) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_outlives_a_killed_test_run_is_stopped_before_its_folder_goes(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED_CHILD, told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        child.kill()
    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert told.read_text().splitlines() == ["stopped", str(folder)]


async def test_waiting_for_postgres_works_inside_a_loop(postgres_admin_dsn: str) -> None:
    assert asyncio.get_running_loop().is_running()
    assert postgres.check(postgres_admin_dsn) == ""
    with temporary_folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()
