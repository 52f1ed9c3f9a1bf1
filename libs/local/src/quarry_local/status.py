"""The table of `quarry status`."""

import time

import psutil
from rich.table import Table

from quarry_local.platform import memory_bytes
from quarry_local.state import ProcessRecord, State

PROMISE = (
    "This mode survives the death of any process, not the loss of power: for that run Postgres, NATS and "
    "Qdrant replicated."
)
COLUMNS = ("process", "pid", "state", "uptime", "restarts", "memory", "port", "version", "detail")


def table(state: State) -> Table:
    """Return one row for the supervisor and one for each process."""
    shown = Table(*COLUMNS, header_style="bold")
    supervisor = state.supervisor_process()
    row = _row("supervisor", supervisor, state.phase)
    if supervisor is not None:
        # Its children have rows of their own.
        row[5] = f"{supervisor.memory_info().rss / 2**20:.0f} MB"
    shown.add_row(*row)
    for record in state.processes.values():
        shown.add_row(*_record_row(record))
    return shown


def _record_row(record: ProcessRecord) -> list[str]:
    process = record.identity.process() if record.identity else None
    row = _row(record.name, process, record.state)
    row[4], row[6], row[7], row[8] = str(record.restarts), str(record.port), record.version, record.detail
    return row


def _row(name: str, process: psutil.Process | None, state: str) -> list[str]:
    if process is None:
        gone = state if state in {"waiting", "stopped", "failed"} else "gone"
        return [name, "-", gone, "-", "-", "-", "-", "", ""]
    uptime = span(time.time() - process.create_time())
    return [
        name,
        str(process.pid),
        state,
        uptime,
        "-",
        f"{memory_bytes(process) / 2**20:.0f} MB",
        "-",
        "",
        "",
    ]


def span(seconds: float) -> str:
    """Return a time span as a person reads it: `42s`, `3m 5s`, `2h 10m`, `4d 1h`."""
    whole = int(max(seconds, 0))
    for unit, size, lesser, part in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part}{lesser}"
    return f"{whole}s"
