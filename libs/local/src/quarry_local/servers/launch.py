"""Start and stop one process, and wait for it; every wait has a deadline."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from quarry_local.errors import StartError
from quarry_local.servers.accounts import group_of
from quarry_local.servers.program import Program, explain, tail

POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(program: Program, log: Path, *, die_with_parent: bool = False) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own; its output is appended to `log`.

    With `die_with_parent` the kernel (Linux) ends it when the *thread* that called this ends.
    Raises `StartError` when the program cannot be executed at all.
    """
    try:
        program.prepare()
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(program, str(error), otherwise=f"cannot make its folder ({error})", log=log) from None
    user = program.user if os.geteuid() == 0 else None
    parent = os.getpid()

    def bind_to_parent() -> None:
        # Runs after the change of account, which would clear the setting again.
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(program.kill_signal))
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

    with log.open("ab") as output:
        try:
            return subprocess.Popen(  # noqa: S603 - the platform's own programs
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=program.folder,
                env=dict(program.environ),
                start_new_session=True,
                preexec_fn=bind_to_parent if die_with_parent else None,  # noqa: PLW1509 - one system call
                user=user,
                group=None if user is None else group_of(user),
                extra_groups=None if user is None else [],
            )
        except OSError as error:
            raise StartError(
                f"{program.name} cannot be executed ({program.argv[0]}): {error.strerror}.",
                advice="Run `quarry doctor`; it checks the programs and folders of this machine.",
            ) from None


def wait_ready(program: Program, process: subprocess.Popen[bytes], log: Path, since: int = 0) -> None:
    """Wait until the program answers, then settle it.

    `since` is the size of `log` before the start. Raises `StartError` with the reason when the process ends
    or is not ready within its time.
    """
    deadline = time.monotonic() + program.ready_seconds
    while True:
        code = process.poll()
        if code is not None:
            otherwise = f"ended at once ({_ending(code)})"
            raise explain(program, tail(log, since), otherwise=otherwise, log=log)
        why = program.ready()
        if not why:
            program.settle()
            return
        if time.monotonic() > deadline:
            otherwise = f"was not ready within {program.ready_seconds:.0f} s ({why})"
            raise explain(program, tail(log, since), otherwise=otherwise, log=log)
        time.sleep(POLL_SECONDS)


def wait_until(ready: Callable[[], str], seconds: float, name: str) -> None:
    """Wait until `ready` returns an empty string; raises `StartError` with its last answer."""
    deadline = time.monotonic() + seconds
    while why := ready():
        if time.monotonic() > deadline:
            raise StartError(f"{name} was not ready within {seconds:.0f} s ({why}).")
        time.sleep(POLL_SECONDS)


def run_to_ready(program: Program, log: Path, *, die_with_parent: bool = False) -> subprocess.Popen[bytes]:
    """Start the program and return when it is ready; a program that fails is stopped before this raises."""
    since = log.stat().st_size if log.exists() else 0
    process = start(program, log, die_with_parent=die_with_parent)
    try:
        wait_ready(program, process, log, since)
    except BaseException:
        stop(program, psutil.Process(process.pid) if process.poll() is None else None)
        process.wait(timeout=5)
        raise
    return process


def stop(program: Program, process: psutil.Process | None) -> bool:
    """Ask the process to end, then insist; return whether it ended by itself within its time."""
    if process is None:
        return True
    return stop_signals(process, program.stop_signal, program.kill_signal, program.stop_seconds)


def stop_signals(process: psutil.Process, ask: int, insist: int, seconds: float) -> bool:
    """Send `ask`, after `seconds` send `insist`, and SIGKILL if even that is not heeded."""
    for number, patience in ((ask, seconds), (insist, 5.0), (signal.SIGKILL, 5.0)):
        try:
            process.send_signal(number)
            process.wait(timeout=patience)
        except psutil.NoSuchProcess:
            return number == ask
        except psutil.TimeoutExpired:
            continue
        return number == ask
    return False


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
