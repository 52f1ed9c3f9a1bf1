"""The process: owns the folder, listens, flushes, and stops in order."""

import asyncio
import logging
import signal
import socket
from contextlib import suppress
from pathlib import Path

import msgspec
from aiohttp import web

from quarry_common import garbage
from quarry_local.vector_engine.application import Application
from quarry_local.vector_engine.errors import NotFoundError, ShardLostError, StartError
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.store import Store, owned

DRAIN_SECONDS = 8.0
STOP_SECONDS = 3.0
FLUSH_INTERVAL_SECONDS = 5.0
IDLE_SECONDS = 75.0
"""After which a connection on which nothing is asked is closed."""

log = logging.getLogger(__name__)


class Listen(msgspec.Struct, frozen=True):
    """Where the process listens and what it accepts."""

    host: str
    port: int
    max_body_bytes: int


async def serve(root: Path, listen: Listen, settings: OptimiserSettings) -> None:
    """Serve the collections under `root` until SIGTERM or SIGINT.

    Raises `StartError` when the folder or the port is taken, and `ShardLostError`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with owned(root) as lock:
        _check_port(listen)
        store = Store(root, settings, lock)
        try:
            await store.open()
            garbage.look_seldom()
            await _run(store, listen, stop)
        finally:
            await store.close()
    log.info("stopped; everything is flushed")


async def _run(store: Store, listen: Listen, stop: asyncio.Event) -> None:
    application = Application(store, listen.max_body_bytes)
    # One thread: an HTTP server in threads of its own would hand each request over twice.
    runner = web.ServerRunner(web.Server(application, access_log=None, keepalive_timeout=IDLE_SECONDS))
    await runner.setup()
    await web.TCPSite(runner, listen.host, listen.port, backlog=1024, shutdown_timeout=STOP_SECONDS).start()
    flushing = asyncio.create_task(_flush_regularly(store))
    optimising = asyncio.create_task(store.optimiser.watch())
    stopping = asyncio.create_task(stop.wait())
    losing = asyncio.create_task(_watch_shards(store))
    log.info("serving %d collections on %s:%d", len(store.collections), listen.host, listen.port)
    working = {flushing, optimising, losing}
    await asyncio.wait({stopping, *working}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, *working):
        task.cancel()
    await store.optimiser.stop()
    if not await application.drain(DRAIN_SECONDS):
        log.warning("some requests were not answered within %.0f s", DRAIN_SECONDS)
    failed = [task for task in working if task.done() and not task.cancelled()]
    await runner.cleanup()
    for task in failed:
        task.result()


async def _flush_regularly(store: Store) -> None:
    while True:
        await asyncio.sleep(FLUSH_INTERVAL_SECONDS)
        for collection in list(store.collections.values()):
            with suppress(NotFoundError, ShardLostError):
                await collection.flush()


async def _watch_shards(store: Store) -> None:
    await store.lost.wait()
    raise ShardLostError


def _check_port(listen: Listen) -> None:
    """Raise `StartError` if something listens already; before collections are opened, which takes longer."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen.host, listen.port))
            probe.listen(1)
        except OSError as error:
            raise StartError(
                f"cannot listen on {listen.host}:{listen.port}: {error.strerror}; "
                "choose another port or stop what uses it"
            ) from None
