"""Servers that speak TLS alone, with certificates of an authority that lives as long as the test."""

import asyncio
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import trustme

from quarry_local.ports import free_port
from quarry_local.servers import nats, postgres, redis
from quarry_local.servers.accounts import unprivileged_user
from quarry_local.servers.program import Program
from quarry_local.servers.wire import http_ready

HOST = "127.0.0.1"
"""What the servers' certificates are for; `localhost` is the same machine by another name."""


class Authority:
    """Issues certificates; its own is in `ca_file`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(self, name: str = HOST) -> tuple[str, str]:
        """Return the files of a certificate for a host or a client, and of its key."""
        made = self._ca.issue_cert(name, common_name=name)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        made.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        return str(cert), str(key)


def postgres_program(folder: Path, authority: Authority, password: str) -> tuple[Program, int]:
    """Return a Postgres that lets nobody in without TLS, and its port."""
    port, (cert, key) = free_port(), authority.issue()
    program = postgres.program(folder, port, password, "quarry", durable=False)

    def prepare() -> None:
        program.prepare()
        # The server takes no key that others might read.
        for name, source in (("server.crt", cert), ("server.key", key)):
            shutil.copyfile(source, program.folder / name)
            (program.folder / name).chmod(0o600)
            if user := unprivileged_user():
                shutil.chown(program.folder / name, user)
        with (program.folder / "postgresql.conf").open("a") as conf:
            conf.write("ssl = on\n")
        (program.folder / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")

    return replace(program, prepare=prepare), port


def redis_program(
    folder: Path, authority: Authority, password: str, *, mutual: bool = False
) -> tuple[Program, int]:
    """Return a Redis, and the port on which it speaks TLS."""
    port, (cert, key) = free_port(), authority.issue()
    program = redis.program(folder, free_port(), password, durable=False)
    lines = (
        f"tls-port {port}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-ca-cert-file {authority.ca_file}\n"
        f"tls-auth-clients {'yes' if mutual else 'no'}\n"
    )
    return _with(program, folder / "redis.conf", lambda text: text + lines), port


def nats_program(
    folder: Path, authority: Authority, password: str, *, mutual: bool = False, login: str = ""
) -> tuple[Program, int]:
    """Return a nats-server, and its port; `login` is what its configuration says in place of the password."""
    port, monitor, (cert, key) = free_port(), free_port(), authority.issue()
    program = nats.program(folder, port, "" if login else password)
    lines = (
        f'http: "{HOST}:{monitor}"\n{login}\n'
        f'tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{authority.ca_file}", '
        f"verify: {str(mutual).lower()} }}\n"
    )
    secure = _with(program, folder / "nats.conf", lambda text: text + lines)
    return replace(secure, ready=lambda: http_ready(f"http://{HOST}:{monitor}/healthz")), port


def _with(program: Program, conf: Path, change: Callable[[str], str]) -> Program:
    def prepare() -> None:
        program.prepare()
        conf.write_text(change(conf.read_text()))

    return replace(program, prepare=prepare)


@contextmanager
def tls_proxy(authority: Authority, target_port: int) -> Iterator[int]:
    """Yield a port that speaks TLS and hands everything on to a local server that does not.

    It has a thread of its own, because a test may wait for processes that connect to it.
    """
    cert, key = authority.issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    loop = asyncio.new_event_loop()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
            writer.close()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(HOST, target_port)
        await asyncio.gather(pipe(reader, target_writer), pipe(target_reader, writer))

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(hand_on, HOST, 0, ssl=context)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(timeout=10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
