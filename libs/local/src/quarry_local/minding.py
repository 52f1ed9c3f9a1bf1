"""One thread per process: it notices a death, waits, starts again, and watches readiness."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import Popen

import msgspec
import psutil

from quarry_local.errors import LocalError
from quarry_local.layout import Layout
from quarry_local.logs import rotate
from quarry_local.servers.launch import start
from quarry_local.servers.program import Program
from quarry_local.state import Identity, ProcessRecord, State, Step, save_state

TICK_SECONDS = 0.25
STARTING_CHECK_SECONDS = 0.25
READY_CHECK_SECONDS = 5.0
HEALTHY_SECONDS = 60.0
LONGEST_DELAY_SECONDS = 30.0


@dataclass
class Board:
    """What the supervising threads share; the state file always tells what is on it."""

    layout: Layout
    stopping: threading.Event = field(default_factory=threading.Event)
    state: State = field(default_factory=State)
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)
    children: list[Popen[bytes]] = field(default_factory=list)
    """Kept so that nobody but the minding thread collects their exit codes."""

    def change(self, **fields: object) -> None:
        """Change the state and write it."""
        with self.lock:
            self.state = msgspec.structs.replace(self.state, **fields)
            save_state(self.layout.state, self.state)

    def record(self, name: str, **fields: object) -> None:
        """Change what is known of one process and write it, unless nothing changed."""
        with self.lock:
            old = self.state.processes[name]
            new = msgspec.structs.replace(old, **fields)
            if new != old:
                processes = {**self.state.processes, name: new}
                self.state = msgspec.structs.replace(self.state, processes=processes)
                save_state(self.layout.state, self.state)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time a part of the start and tell it in the state when it has succeeded."""
        begun = time.monotonic()
        yield
        done = Step(title, round(time.monotonic() - begun, 2))
        with self.lock:
            self.state = msgspec.structs.replace(self.state, steps=(*self.state.steps, done))
            save_state(self.layout.state, self.state)


def record_of(program: Program, kind: str) -> ProcessRecord:
    """Return the record of a process that has not been started."""
    return ProcessRecord(
        name=program.name,
        kind=kind,
        port=program.port,
        version=program.version,
        stop_signals=(int(program.stop_signal), int(program.kill_signal), program.stop_seconds),
    )


def restart_delay(deaths: int) -> float:
    """Return the seconds before the next start after so many deaths: 0, 0.5, 1, 2, 4 ... at most 30."""
    return 0.0 if deaths <= 1 else min(0.5 * 2.0 ** min(deaths - 2, 10), LONGEST_DELAY_SECONDS)


def mind(board: Board, program: Program, process: psutil.Process | None) -> None:
    """Keep the program running, in a thread of its own, until `board.stopping` is set.

    `process` is the running process, or None when it has yet to be started.
    """
    thread = threading.Thread(
        target=_mind, args=(board, program, process), name=f"mind-{program.name}", daemon=True
    )
    board.threads.append(thread)
    thread.start()


def _mind(board: Board, program: Program, process: psutil.Process | None) -> None:
    deaths = 0
    settled = process is not None
    while not board.stopping.is_set():
        begun = time.monotonic()
        if process is None:
            process = _start(board, program)
        why = "cannot be started" if process is None else _watch(board, program, process, settled=settled)
        if board.stopping.is_set():
            return
        process, settled = None, False
        deaths = 1 if time.monotonic() - begun > HEALTHY_SECONDS else deaths + 1
        delay = restart_delay(deaths)
        restarts = board.state.processes[program.name].restarts + 1
        board.record(program.name, identity=None, state="waiting", restarts=restarts, detail=why)
        board.stopping.wait(delay)


def _start(board: Board, program: Program) -> psutil.Process | None:
    try:
        child = start(program, board.layout.log(program.name))
        process = psutil.Process(child.pid)
        identity = Identity.of(process, program.argv)
    except (LocalError, OSError, psutil.NoSuchProcess):
        return None
    board.children[:] = [each for each in board.children if each.returncode is None]
    board.children.append(child)
    board.record(program.name, identity=identity, state="starting")
    return process


def _watch(board: Board, program: Program, process: psutil.Process, *, settled: bool) -> str:
    """Return how the process ended, or an empty string when the platform stops."""
    next_check = 0.0
    while not board.stopping.is_set():
        try:
            code = process.wait(timeout=TICK_SECONDS)
        except psutil.TimeoutExpired:
            pass
        else:
            return "ended" if code is None else f"ended with {code}"
        if time.monotonic() < next_check:
            continue
        rotate(board.layout.log(program.name))
        why = program.ready()
        if not why and not settled:
            settled, why = _settle(program)
        board.record(program.name, state=_named(why, settled), detail=why)
        next_check = time.monotonic() + (STARTING_CHECK_SECONDS if why else READY_CHECK_SECONDS)
    return ""


def _settle(program: Program) -> tuple[bool, str]:
    try:
        program.settle()
    except Exception as error:  # noqa: BLE001 - the edge of a process: told in the state, tried again
        return False, str(error)
    return True, ""


def _named(why: str, settled: bool) -> str:
    if not why:
        return "ready"
    return "unready" if settled else "starting"
