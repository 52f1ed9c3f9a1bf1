"""What `quarry up` and `quarry down` do: start the supervisor in the background, wait, end it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from quarry_local.errors import LocalError
from quarry_local.layout import Layout
from quarry_local.plan import http_port, needed, quarry_command
from quarry_local.servers import binaries
from quarry_local.servers.launch import stop_signals
from quarry_local.servers.program import tail
from quarry_local.state import State, Step, load_state, save_state
from quarry_local.supervisor import stop_leftovers

UP_SECONDS = 600.0
DOWN_SECONDS = 150.0
POLL_SECONDS = 0.05
LEAST_FREE_BYTES = 500 * 1024 * 1024

Tell = Callable[[str], None]


def prepare(layout: Layout, environ: Mapping[str, str], tell: Tell) -> list[Path]:
    """Check the disk and find or install the servers' programs; return where they are."""
    _require_disk(layout)
    http_port(environ)
    quarry_command()
    wanted = needed(environ)
    absent = [each for each in wanted if binaries.find(each) is None]
    if absent:
        binaries.install(absent, tell)
    return [binaries.require(each) for each in wanted]


def up(layout: Layout, environ: Mapping[str, str], on_step: Callable[[Step], None]) -> tuple[State, bool]:
    """Start the platform if it does not run; return its state when it is ready, and whether it ran already.

    `on_step` hears of each part that has become ready. Raises `LocalError` with the supervisor's reason.
    """
    layout.make()
    state = load_state(layout.state)
    already = state.supervisor_process() is not None and state.phase in {"starting", "ready"}
    child = None if already else _start_supervisor(layout, environ)
    # The steps of an earlier start are no news.
    told = len(state.steps) if already and state.phase == "ready" else 0
    deadline = time.monotonic() + UP_SECONDS
    while True:
        state = load_state(layout.state)
        mine = already or (child is not None and state.supervisor is not None and _is(state, child))
        if mine:
            for step in state.steps[told:]:
                on_step(step)
            told = max(told, len(state.steps))
            if state.phase == "ready":
                return state, already
            if state.phase == "failed":
                raise LocalError(state.detail, advice=state.advice)
        elif load_state(layout.state).supervisor_process() is not None:
            already = True  # another `quarry up` was faster; its supervisor has the lock
        _require_alive(layout, state, child, already)
        if time.monotonic() > deadline:
            raise LocalError(
                f"The platform was not ready within {UP_SECONDS:.0f} s.",
                advice="`quarry status` shows what is missing.",
            )
        time.sleep(POLL_SECONDS)


def down(layout: Layout, tell: Tell) -> bool:
    """Stop everything that this installation started; return whether anything ran."""
    state = load_state(layout.state)
    supervisor = state.supervisor_process()
    if supervisor is not None:
        tell("stopping services, then servers")
        if not stop_signals(supervisor, 15, 9, DOWN_SECONDS):
            tell("the supervisor did not end in time and was killed")
    rest = load_state(layout.state)
    leftovers = bool(rest.living("service") or rest.living("server"))
    for kind in ("service", "server"):
        stop_leftovers(rest, kind, tell)
    if layout.var.exists():
        save_state(
            layout.state, State(processes={}, http_port=rest.http_port) if leftovers else _stopped(rest)
        )
    return supervisor is not None or leftovers


def _stopped(state: State) -> State:
    """Keep the ports, so that the next start takes the same."""
    return State(processes=state.processes, http_port=state.http_port)


def _start_supervisor(layout: Layout, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with layout.log("supervisor").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quarry_local", "supervise"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=layout.var,
            env={**environ, "QUARRY_VAR": str(layout.var)},
            start_new_session=True,
        )


def _is(state: State, child: "subprocess.Popen[bytes]") -> bool:
    return state.supervisor is not None and state.supervisor.pid == child.pid


def _require_alive(
    layout: Layout, state: State, child: "subprocess.Popen[bytes] | None", already: bool
) -> None:
    if child is not None and child.poll() is not None and not already:
        # It may have written its reason just before it ended.
        final = load_state(layout.state)
        if _is(final, child) and final.phase == "failed":
            raise LocalError(final.detail, advice=final.advice)
        if final.supervisor_process() is not None:
            return
        last = tail(layout.log("supervisor")).strip().splitlines()
        raise LocalError(
            f"The supervisor ended: {last[-1] if last else 'it left no word'}",
            advice=f"Its log is {layout.log('supervisor')}.",
        )
    if already and state.supervisor_process() is None:
        raise LocalError(
            state.detail or "The supervisor ended while the platform was starting.",
            advice=state.advice or f"Its log is {layout.log('supervisor')}.",
        )


def _require_disk(layout: Layout) -> None:
    folder = next(part for part in (layout.var, *layout.var.parents) if part.exists())
    if not os.access(folder, os.W_OK):
        raise LocalError(
            f"{folder} cannot be written by this user.",
            advice="Work from a folder of your own, or name one in QUARRY_VAR.",
        )
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise LocalError(
            f"The disk that holds {folder} has only {free // 2**20} MB left; at least 500 MB are needed.",
            advice="Free some space, or name a folder on another disk in QUARRY_VAR.",
        )


def memory_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process and those it started; 0 when it has gone."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total
