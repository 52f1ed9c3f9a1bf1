"""Postgres as a local program, with a data folder of its own."""

import asyncio
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from quarry_local.errors import LocalError
from quarry_local.ports import LOOPBACK
from quarry_local.servers import binaries
from quarry_local.servers.accounts import folder_for, group_of, own, unprivileged_user
from quarry_local.servers.program import Fault, Program, environment, explain

ADMIN = "postgres"
CALL_SECONDS = 20.0
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_io_concurrency": "64",  # a figure's rows lie apart: read ahead, all at once
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "timezone": "UTC",
}
# Faster, and safe against the death of processes; a test's database need not outlive the machine.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
FAULTS = (
    Fault(
        r"database files are incompatible with server|initialized by PostgreSQL version",
        "The data folder {folder} was made by another version of Postgres.",
        "Install that version, or dump with it and restore; the file PG_VERSION in the folder names it.",
    ),
    Fault(
        r"could not locate a valid checkpoint record|is not a valid data directory|"
        r"could not open file .*(pg_control|PG_VERSION)|invalid (primary )?checkpoint|"
        r"could not read file .*pg_control|incorrect checksum in control file|"
        r"could not find the database system",
        "postgres cannot read its data folder {folder}: it is broken or incomplete.",
        "Restore the folder from a backup, or run `quarry down`, move it away and start with an empty one.",
    ),
    Fault(
        r"lock file \"postmaster.pid\" already exists",
        "Another Postgres runs in the data folder {folder}.",
        "Run `quarry down`; the file postmaster.pid in the folder names that process.",
    ),
    Fault(
        r"has (wrong ownership|invalid permissions)",
        "The data folder {folder} belongs to another account or is open to others.",
        "Run `chown -R {user} {folder} && chmod 700 {folder}`, then start again.",
    ),
)


def program(wanted: Path, port: int, password: str, database: str, *, durable: bool = True) -> Program:
    """Return Postgres on loopback; `wanted` is its data folder, which may live elsewhere (`folder_for`).

    `database` is created when it is missing. `durable=False` (tests) turns fsync off.
    """
    binary = binaries.require(binaries.POSTGRES)
    user = unprivileged_user()
    folder = folder_for(wanted, user)
    chosen = SETTINGS | ({} if durable else FAST)
    options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    admin = url(port, password, database="postgres")
    built = Program(
        name="postgres",
        argv=(str(binary), "-D", str(folder), "-p", str(port), *options),
        port=port,
        folder=folder,
        environ=environment(),
        user=user,
        ready=lambda: _ready(admin),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        kill_signal=signal.SIGQUIT,  # "immediate": all its processes end; recovers at the next start
        settle=lambda: _settle(admin, database),
        faults=FAULTS,
        version=binaries.version(binary),
    )
    return replace(built, prepare=lambda: _prepare(built, password, durable))


def url(port: int, password: str, *, database: str, user: str = ADMIN) -> str:
    """Return the DSN of a database on that server."""
    return f"postgresql://{user}:{quote(password, safe='')}@{LOOPBACK}:{port}/{database}"


def with_login(dsn: str, user: str, password: str) -> str:
    """Return the DSN with another login."""
    parts = urlsplit(dsn)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{address}"))


def with_database(dsn: str, database: str) -> str:
    """Return the DSN with another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def create_database(dsn: str, name: str, *, if_missing: bool = False) -> str:
    """Create a database and return its DSN; safe to call where an event loop runs."""

    async def create() -> None:
        connection = await asyncpg.connect(dsn, timeout=CALL_SECONDS, command_timeout=CALL_SECONDS)
        try:
            if if_missing and await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                return
            quoted = '"' + name.replace('"', '""') + '"'
            await connection.execute(f"CREATE DATABASE {quoted}")
        finally:
            await connection.close(timeout=CALL_SECONDS)

    _in_own_loop(create)
    return with_database(dsn, name)


def check(dsn: str) -> str:
    """Return an empty string when the server lets this DSN in, else why not."""
    return _ready(dsn)


def _settle(admin: str, database: str) -> None:
    create_database(admin, database, if_missing=True)


def _ready(dsn: str) -> str:
    async def ask() -> None:
        connection = await asyncpg.connect(dsn, timeout=2)
        await connection.close(timeout=2)

    try:
        _in_own_loop(ask)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def _in_own_loop(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `work` in a thread with a loop of its own, because the caller's thread may run one already."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=2 * CALL_SECONDS)
    if thread.is_alive():
        raise LocalError("Postgres did not answer within its time.")
    if failure:
        raise failure[0]


def _prepare(built: Program, password: str, durable: bool) -> None:
    """Make the data folder once: beside its place, then renamed, so that a broken-off initdb is made anew."""
    folder, user = built.folder, built.user
    own(folder, user)
    if any(folder.iterdir()):
        return
    making = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    own(making, user)
    secret = folder.with_name(f"{folder.name}.password")
    try:
        secret.touch(mode=0o600)
        secret.write_text(password)
        if user is not None:
            shutil.chown(secret, user)
        done = subprocess.run(  # noqa: S603 - Postgres's own program
            _initdb(Path(built.argv[0]), making, str(secret), durable),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=making,
            env=environment(),
            user=user,
            group=None if user is None else group_of(user),
            extra_groups=None if user is None else [],
        )
    finally:
        secret.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(making, ignore_errors=True)
        raise explain(
            built, done.stdout + done.stderr, otherwise="could not make its data folder", log=folder
        )
    making.rename(folder)


def _initdb(binary: Path, folder: Path, password_file: str, durable: bool) -> list[str]:
    return [
        *(str(binary.with_name("initdb")), "-D", str(folder), "--username", ADMIN),
        *("--auth", "scram-sha-256", "--pwfile", password_file, "--encoding", "UTF8"),
        *("--locale", "C.UTF-8" if sys.platform == "linux" else "C"),
        *(() if durable else ("--no-sync",)),
    ]
