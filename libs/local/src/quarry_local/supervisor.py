"""The supervisor: starts the platform in order, restarts what dies, stops all in order.

One process per installation, told by a lock. Servers and services do not die with it: when it was killed,
the next one adopts the servers it finds and starts the services anew.
"""

import fcntl
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from quarry_local.errors import LocalError, StartError
from quarry_local.layout import Layout
from quarry_local.minding import Board, mind, record_of
from quarry_local.plan import Plan, make_plan, quarry_command
from quarry_local.ports import require_free
from quarry_local.secret_store import load_secrets
from quarry_local.servers.launch import start, stop, stop_signals, wait_ready
from quarry_local.servers.program import Program, explain, tail
from quarry_local.state import Identity, State, load_state

MIGRATE_SECONDS = 300.0
EARLY_DEATHS = 4
"""So many deaths of a service that was never ready end the start."""


class AlreadyRunningError(LocalError):
    """Another supervisor of this installation runs."""

    code = "already_running"
    title = "The platform runs already"
    advice = "`quarry status` shows it; `quarry down` stops it."


@contextmanager
def only_one(layout: Layout) -> Iterator[None]:
    """Hold the installation's lock; raises `AlreadyRunningError` when another process holds it."""
    layout.make()
    with layout.lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError("The platform is supervised already.") from None
        yield


def run(layout: Layout, environ: dict[str, str], tell: Callable[[str], None]) -> int:
    """Start the platform, supervise it until SIGTERM or SIGINT, stop it; return the exit code.

    When it cannot be started, the reason is left in the state file and what was started is stopped.
    """
    with only_one(layout):
        last = load_state(layout.state)
        board = Board(layout)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: board.stopping.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        board.change(phase="starting", supervisor=Identity.of(psutil.Process()), processes=last.processes)
        plan: Plan | None = None
        failure: LocalError | None = None
        try:
            stop_leftovers(last, "service", tell)
            plan = make_plan(layout, load_secrets(layout.secrets), environ, last)
            _start_all(board, plan, last, tell)
            board.stopping.wait()
        except LocalError as error:
            failure = error
        except OSError as error:
            failure = LocalError(f"The platform cannot be started: {error}.")
        _stop_all(board, plan, tell)
        if failure is not None:
            tell(f"failed: {failure.data.detail} {failure.data.advice}")
            board.change(phase="failed", detail=failure.data.detail, advice=failure.data.advice)
            return 1
        board.change(phase="stopped")
        return 0


def stop_leftovers(state: State, kind: str, tell: Callable[[str], None]) -> None:
    """Stop the recorded processes of a kind that outlived their supervisor."""
    for record, process in state.living(kind):
        tell(f"stopping {record.name} (pid {process.pid}), left by an earlier supervisor")
        stop_signals(process, *record.stop_signals)


def _start_all(board: Board, plan: Plan, last: State, tell: Callable[[str], None]) -> None:
    require_free(
        plan.http_port,
        advice="End that process, or take another port: `HTTP_PORT=8081 make up`.",
    )
    records = [record_of(each, "server") for each in plan.servers]
    records += [record_of(each, "service") for each in plan.services]
    board.change(http_port=plan.http_port)
    adopted = adopt(plan.servers, last, tell)
    board.change(processes={record.name: record for record in records})
    with ThreadPoolExecutor(max_workers=max(len(plan.servers), 1)) as pool:
        started = [pool.submit(_start_server, board, each, adopted.get(each.name)) for each in plan.servers]
    for program, future in zip(plan.servers, started, strict=True):
        mind(board, program, future.result())
    if board.stopping.is_set():
        return
    with board.step("Schemas, streams and the vector collection are up to date"):
        _migrate(board, plan)
    with board.step(f"Services: {', '.join(each.name for each in plan.services)}"):
        for program in plan.services:
            mind(board, program, None)
        _wait_for_services(board, plan.services)
    if not board.stopping.is_set():
        board.change(phase="ready")
        tell(f"ready: {board.state.url}")


def adopt(servers: Sequence[Program], last: State, tell: Callable[[str], None]) -> dict[str, psutil.Process]:
    """Return the servers that still run as they would be started now; stop the others."""
    wanted = {each.name: each for each in servers}
    adopted = {}
    for record, process in last.living("server"):
        program = wanted.get(record.name)
        same = program is not None and record.identity is not None and record.identity.argv == program.argv
        if program is not None and same and not program.ready():
            tell(f"adopting {record.name} (pid {process.pid})")
            adopted[record.name] = process
        else:
            tell(f"stopping {record.name} (pid {process.pid}), left by an earlier supervisor")
            stop_signals(process, *record.stop_signals)
    return adopted


def _start_server(board: Board, program: Program, adopted: psutil.Process | None) -> psutil.Process:
    with board.step(f"{program.name} {program.version}".strip() + f" on port {program.port}"):
        if adopted is not None:
            program.settle()
            board.record(program.name, identity=Identity.of(adopted, program.argv), state="ready")
            return adopted
        log = board.layout.log(program.name)
        since = log.stat().st_size if log.exists() else 0
        child = start(program, log)
        board.children.append(child)
        process = psutil.Process(child.pid)
        board.record(program.name, identity=Identity.of(process, program.argv))
        wait_ready(program, child, log, since)
        board.record(program.name, state="ready")
        return process


def _migrate(board: Board, plan: Plan) -> None:
    log = board.layout.log("migrate")
    log.write_bytes(b"")
    with log.open("ab") as output:
        try:
            code = subprocess.run(  # noqa: S603 - the project's own command
                [*quarry_command(), "migrate"],
                env=dict(plan.shared),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=MIGRATE_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code != 0:
        last = next((line for line in reversed(tail(log).splitlines()) if line.strip()), "it ended silently")
        raise StartError(f"`quarry migrate` failed: {last[-400:]}", advice=f"Its whole log is {log}.")


def _wait_for_services(board: Board, services: Sequence[Program]) -> None:
    deadline = time.monotonic() + max(each.ready_seconds for each in services) if services else 0.0
    waiting = {each.name: each for each in services}
    while waiting and not board.stopping.wait(0.05):
        for name, program in list(waiting.items()):
            record = board.state.processes[name]
            if record.state == "ready":
                del waiting[name]
            elif record.restarts >= EARLY_DEATHS or time.monotonic() > deadline:
                log = board.layout.log(name)
                otherwise = f"is not ready ({record.detail or 'no answer'})"
                raise explain(program, tail(log), otherwise=otherwise, log=log)


def _stop_all(board: Board, plan: Plan | None, tell: Callable[[str], None]) -> None:
    """Stop the services together, the gateway first to refuse; then the servers, Postgres last."""
    board.stopping.set()
    board.change(phase="stopping")
    for thread in board.threads:
        thread.join(timeout=30)
    if plan is None:
        stop_leftovers(board.state, "server", tell)
        return
    with ThreadPoolExecutor(max_workers=max(len(plan.services), 1)) as pool:
        list(pool.map(lambda program: _stop_one(board, program, tell), reversed(plan.services)))
    for program in reversed(plan.servers):
        _stop_one(board, program, tell)


def _stop_one(board: Board, program: Program, tell: Callable[[str], None]) -> None:
    record = board.state.processes.get(program.name)
    process = record.identity.process() if record and record.identity else None
    if process is not None and not stop(program, process):
        tell(f"{program.name} did not stop within {program.stop_seconds:.0f} s and was killed")
    if record is not None:
        board.record(program.name, state="stopped", identity=None, detail="")
