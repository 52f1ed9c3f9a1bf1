"""A program that runs as one process: how to start it, how to stop it and what its failures mean."""

import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quarry_local.errors import StartError
from quarry_local.ports import holder

TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Fault:
    """What a pattern in a program's log means for the person who started it."""

    pattern: str
    detail: str
    advice: str


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the platform. `folder` is its working folder and holds its data and configuration."""

    name: str
    argv: tuple[str, ...]
    port: int
    folder: Path
    ready: Callable[[], str]
    """Returns an empty string when the program answers, else why it does not; takes at most 2 seconds."""
    environ: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    """The account it runs as, when this process is root and the program refuses root."""
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 20.0
    ready_seconds: float = 60.0
    prepare: Callable[[], None] = lambda: None
    """Makes the data folder and the configuration; called before each start, harmless to repeat."""
    settle: Callable[[], None] = lambda: None
    """What is done after each start as soon as the program is ready; harmless to repeat."""
    faults: tuple[Fault, ...] = ()
    version: str = ""


COMMON_FAULTS = (
    Fault(
        r"no space left on device|disk quota exceeded",
        "{name} cannot write: the disk that holds {folder} is full.",
        "Free some space on that disk (`df -h` tells how much is left), then start again.",
    ),
    Fault(
        r"read-only file system",
        "{name} cannot write: the disk that holds {folder} is mounted read-only.",
        "Mount it writable, or work from a folder on another disk.",
    ),
    Fault(
        r"address already in use|could not bind|failed listening on port",
        "{name} cannot listen on port {port}: it is in use{holder}.",
        "Stop that process, or run `make down` and `make up` to get another port.",
    ),
    Fault(
        r"permission denied|operation not permitted",
        "{name} may not read or write in its folder {folder}.",
        "Give the folder to the account `{user}`, or move it away to start with an empty one.",
    ),
    Fault(
        r"cannot allocate memory|out of memory",
        "{name} ended because this machine has too little free memory.",
        "End other programs, then start again.",
    ),
)


def environment(**more: str) -> dict[str, str]:
    """Return the small environment of a server: nothing of the caller's settings or secrets leaks into it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "TZ") if name in os.environ}
    # English messages whatever the machine speaks, because `explain` reads them.
    return kept | {"LC_ALL": "C"} | more


def tail(log: Path, since: int = 0) -> str:
    """Return the end of `log`, at most 16 KB of what was written after byte `since`."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, min(since, size)))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def explain(program: Program, output: str, *, otherwise: str, log: Path) -> StartError:
    """Return the error that tells in one sentence why the program did not start, read from its `output`."""
    for fault in (*COMMON_FAULTS, *program.faults):
        if re.search(fault.pattern, output, re.IGNORECASE):
            by = holder(program.port)
            words = {
                "name": program.name,
                "folder": str(program.folder),
                "port": str(program.port),
                "holder": f" by {by}" if by else "",
                "user": program.user or "that runs it",
            }
            return StartError(fault.detail.format(**words), advice=fault.advice.format(**words))
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    return StartError(
        f"{program.name} {otherwise}{f': {last[-300:]}' if last else ''}.".replace("..", "."),
        advice=f"Its whole log is {log}.",
    )
