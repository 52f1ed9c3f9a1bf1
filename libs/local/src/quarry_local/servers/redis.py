"""Redis as a local program."""

from pathlib import Path

from quarry_local.layout import write_private
from quarry_local.ports import LOOPBACK
from quarry_local.servers import binaries
from quarry_local.servers.accounts import own
from quarry_local.servers.program import Fault, Program, environment
from quarry_local.servers.wire import redis_ready

FAULTS = (
    Fault(
        r"bad file format reading the append only file|unexpected end of file reading the append|"
        r"AOF loading|internal error in RDB|wrong signature trying to load",
        "redis cannot read its data folder {folder}.",
        "Run `quarry down`, remove that folder and start again: it holds only caches and rate limits.",
    ),
)


def program(folder: Path, port: int, password: str, *, durable: bool = True) -> Program:
    """Return Redis on loopback with `folder` for its data; `durable=False` (tests) writes no file."""
    binary = binaries.require(binaries.REDIS)
    return Program(
        name="redis",
        argv=(str(binary), str(folder / "redis.conf")),
        port=port,
        folder=folder,
        environ=environment(),
        ready=lambda: redis_ready(port, password),
        prepare=lambda: _prepare(folder, port, password, durable),
        faults=FAULTS,
        version=binaries.version(binary),
    )


def url(port: int, password: str) -> str:
    """Return the DSN of that server."""
    return f"redis://{f':{password}@' if password else ''}{LOOPBACK}:{port}/0"


def _prepare(folder: Path, port: int, password: str, durable: bool) -> None:
    own(folder, None)
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f'dir "{folder}"',
        "daemonize no",
        'save ""',
        "maxmemory 256mb",
        "maxmemory-policy allkeys-lru",
        f"appendonly {'yes' if durable else 'no'}",
        "appendfsync everysec",
    ]
    if password:
        # In the file and not on the command line, which every user of the machine can read.
        lines.append(f"requirepass {password}")
    write_private(folder / "redis.conf", ("\n".join(lines) + "\n").encode())
