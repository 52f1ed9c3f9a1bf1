"""The embedded vector engine as a local program: Qdrant's engine behind Qdrant's REST API."""

import sys
from pathlib import Path

from quarry_local.ports import LOOPBACK
from quarry_local.servers.accounts import own
from quarry_local.servers.program import Fault, Program, environment
from quarry_local.servers.wire import http_ready

FAULTS = (
    Fault(
        r"failed to load|corrupt|cannot open the collection|segment .* (broken|invalid)",
        "The vector engine cannot read its data folder {folder}.",
        "Run `quarry down`, move that folder away, start again and rebuild the index: `quarry reindex`.",
    ),
)


def program(folder: Path, port: int) -> Program:
    """Return the engine on loopback with `folder` for its collections."""
    return Program(
        name="vector-engine",
        argv=(
            *(sys.executable, "-m", "quarry_local.vector_engine"),
            *("--path", str(folder), "--host", LOOPBACK, "--port", str(port)),
        ),
        port=port,
        folder=folder,
        environ=environment(PYTHONUNBUFFERED="1", PYTHONUTF8="1"),
        ready=lambda: http_ready(f"http://{LOOPBACK}:{port}/readyz"),
        prepare=lambda: own(folder, None),
        ready_seconds=120,
        faults=FAULTS,
    )


def url(port: int) -> str:
    """Return the address of that server."""
    return f"http://{LOOPBACK}:{port}"
