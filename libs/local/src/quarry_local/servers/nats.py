"""nats-server with JetStream as a local program."""

import json
from pathlib import Path

from quarry_local.layout import write_private
from quarry_local.ports import LOOPBACK
from quarry_local.servers import binaries
from quarry_local.servers.accounts import own
from quarry_local.servers.program import Fault, Program, environment
from quarry_local.servers.wire import nats_ready

USER = "quarry"
FAULTS = (
    Fault(
        r"error recovering|bad (block|message)|corrupt|could not open the store|invalid (stream )?metafile",
        "nats cannot read its data folder {folder}.",
        "Run `quarry down`, move that folder away and start again: messages not yet handled are sent anew "
        "from Postgres.",
    ),
)


def program(folder: Path, port: int, password: str) -> Program:
    """Return nats-server on loopback with `folder` for streams."""
    binary = binaries.require(binaries.NATS)
    number = binaries.version(binary)
    return Program(
        name="nats",
        argv=(str(binary), "--config", str(folder / "nats.conf")),
        port=port,
        folder=folder,
        environ=environment(),
        ready=lambda: nats_ready(port, USER, password),
        prepare=lambda: _prepare(folder, port, password, number),
        faults=FAULTS,
        version=number,
    )


def url(port: int, password: str) -> str:
    """Return the address of that server, with the login."""
    return f"nats://{f'{USER}:{password}@' if password else ''}{LOOPBACK}:{port}"


def configuration(folder: Path, port: int, password: str, version: str) -> str:
    """Return the text of the configuration file."""
    # Before 2.10 the interval cannot be set (it is 2 minutes) and an unknown field stops the server.
    # Power loss is not what this mode promises to survive; the outbox in Postgres can send everything anew.
    interval = "" if _before(version, 2, 10) else '  sync_interval: "10s"\n'
    login = f"authorization {{ user: {USER}, password: {json.dumps(password)} }}\n" if password else ""
    return (
        f'listen: "{LOOPBACK}:{port}"\n'
        "server_name: quarry\n"
        "max_payload: 8MB\n"
        f"{login}"
        "jetstream {\n"
        f"  store_dir: {json.dumps(str(folder / 'streams'))}\n"
        "  max_memory_store: 256MB\n"
        "  max_file_store: 20GB\n"
        f"{interval}"
        "}\n"
    )


def _prepare(folder: Path, port: int, password: str, version: str) -> None:
    own(folder, None)
    write_private(folder / "nats.conf", configuration(folder, port, password, version).encode())


def _before(version: str, major: int, minor: int) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) < (major, minor)
