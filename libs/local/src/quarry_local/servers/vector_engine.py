"""The embedded vector engine as a local program: Qdrant's engine behind Qdrant's REST API."""

import sys
from ctypes.util import find_library
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
        environ=environment(PYTHONUNBUFFERED="1", PYTHONUTF8="1", **_allocator()),
        ready=lambda: http_ready(f"http://{LOOPBACK}:{port}/readyz"),
        prepare=lambda: own(folder, None),
        ready_seconds=120,
        faults=FAULTS,
    )


def _allocator() -> dict[str, str]:
    """Return what gives the engine another allocator, which Debian's Redis brings along.

    With glibc's a process that has taken in 100,000 chunks needs a third more memory, and a tenth of the time
    of each search looks for a piece that is free.
    """
    library = find_library("jemalloc")
    return {"LD_PRELOAD": library} if library else {}


def url(port: int) -> str:
    """Return the address of that server."""
    return f"http://{LOOPBACK}:{port}"
