"""What is done to processes, and how it is seen that they are back."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from tests.chaos.checks import Connection
from tests.platform import Platform, until

from quarry_local.ports import free_port
from quarry_local.servers.wire import http_ready
from quarry_local.testing import running

REPLACED_SECONDS = 120.0


async def end(platform: Platform, victim: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal that ends a supervised process; return when another one is ready in its place."""
    process = platform.process(victim)
    process.send_signal(number)
    await asyncio.to_thread(process.wait, 60)

    async def replaced() -> bool:
        record = platform.state.processes[victim]
        return record.state == "ready" and record.identity is not None and record.identity.pid != process.pid

    await until(replaced, REPLACED_SECONDS, f"{victim} was started again")


def second_log(platform: Platform, name: str) -> Path:
    """Return where the second process of a service logs."""
    return platform.layout.log(f"{name}-2")


@contextmanager
def second(platform: Platform, name: str) -> Iterator[psutil.Process]:
    """Run one more process of a service beside the one that is supervised."""
    port = free_port()
    usual = platform.program(name)
    program = replace(
        usual,
        name=f"{name}-2",
        port=port,
        environ={**usual.environ, "OPS_PORT": str(port)},
        ready=lambda: http_ready(f"http://127.0.0.1:{port}/readyz"),
    )
    with running(program, second_log(platform, name)) as process:
        yield process


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """Let the process stand still."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def in_transaction(process: psutil.Process, database: Connection) -> bool:
    """Tell whether a process, which stands still, has a transaction open."""
    ports = [connection.laddr.port for connection in process.net_connections("tcp") if connection.laddr]
    found = await database.fetchval(
        "SELECT 1 FROM pg_stat_activity WHERE xact_start IS NOT NULL AND client_port = ANY($1::int[])",
        ports,
    )
    return found is not None
