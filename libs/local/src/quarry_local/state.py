"""What runs on this machine, as `var/platform.json` tells it."""

from pathlib import Path

import msgspec
import psutil

from quarry_local.layout import write_private

CLOCK_TOLERANCE_SECONDS = 2.0


class Identity(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started: float
    """When it started, in seconds since the epoch, as the system tells it."""
    argv: tuple[str, ...] = ()

    @classmethod
    def of(cls, process: psutil.Process, argv: tuple[str, ...] = ()) -> "Identity":
        """Return the identity of a running process."""
        return cls(process.pid, process.create_time(), argv)

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs and is the same one."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < CLOCK_TOLERANCE_SECONDS
            alive = same and found.status() != psutil.STATUS_ZOMBIE
            # The arguments guard against a reused pid after the clock was set; a server may add to them.
            known = not self.argv or self._matches(found.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return found if alive and known else None

    def _matches(self, cmdline: list[str]) -> bool:
        """Redis rewrites its command line; its program's name stays in it, as every program's does."""
        return not cmdline or Path(self.argv[0]).name in " ".join(cmdline)


class ProcessRecord(msgspec.Struct, frozen=True):
    """One process of the platform as it was last seen."""

    name: str
    kind: str
    """`server` or `service`."""
    port: int
    identity: Identity | None = None
    state: str = "starting"
    """`starting`, `ready`, `unready`, `waiting` (to be restarted), `stopped`."""
    restarts: int = 0
    version: str = ""
    detail: str = ""
    stop_signals: tuple[int, int, float] = (15, 9, 20.0)
    """What asks it to end, what insists, and the seconds between."""


class Step(msgspec.Struct, frozen=True):
    """Something that the supervisor has finished while it started."""

    title: str
    seconds: float


class State(msgspec.Struct, frozen=True):
    """The platform. `phase` is `starting`, `ready`, `stopping`, `stopped` or `failed`."""

    phase: str = "stopped"
    supervisor: Identity | None = None
    processes: dict[str, ProcessRecord] = {}
    steps: tuple[Step, ...] = ()
    http_port: int = 0
    detail: str = ""
    advice: str = ""

    @property
    def url(self) -> str:
        """Return where the HTTP API is."""
        return f"http://127.0.0.1:{self.http_port}"

    def supervisor_process(self) -> psutil.Process | None:
        """Return the supervisor if it runs."""
        return self.supervisor.process() if self.supervisor else None

    def living(self, kind: str) -> list[tuple[ProcessRecord, psutil.Process]]:
        """Return the recorded processes of a kind that still run."""
        found = []
        for record in self.processes.values():
            process = record.identity.process() if record.kind == kind and record.identity else None
            if process is not None:
                found.append((record, process))
        return found


def load_state(path: Path) -> State:
    """Return what the file tells; an absent or unreadable one tells that nothing runs."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return State()


def save_state(path: Path, state: State) -> None:
    """Replace the file in one step."""
    write_private(path, msgspec.json.format(msgspec.json.encode(state), indent=1))
