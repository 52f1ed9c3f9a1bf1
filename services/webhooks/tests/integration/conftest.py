"""Receivers that do what a test says, and traps: listening sockets that nothing may connect to."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.tls import Authority

from quarry_common import tls
from quarry_webhooks.egress.faults import Limits
from quarry_webhooks.egress.networks import parse_networks
from quarry_webhooks.egress.resolving import SystemResolver
from quarry_webhooks.egress.sending import Sender
from quarry_webhooks.egress.urls import Policy

OPEN = Policy(parse_networks("127.0.0.0/8,::1/128"), allow_http=True)
"""Loopback may be reached, as in development."""
HTTP_ONLY = Policy(allow_http=True)
"""Nothing but public addresses."""
QUICK = Limits(connect_seconds=0.5, total_seconds=0.5)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """A server that reads each request and then does what its script says."""

    port: int = 0
    connections: int = 0
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Head and body of each."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has ended, by either side."""

    def url(self, path: str = "/hooks", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                self.requests.append((head, await reader.readexactly(int(length.split(b":")[1]))))
                await script(reader, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.gone.set()
            writer.transport.abort()


Receiving = Callable[..., Awaitable[Receiver]]
Sending = Callable[..., Sender]


@pytest.fixture
async def receiving() -> AsyncIterator[Receiving]:
    """Yield what starts a receiver with a script; `context` makes it speak TLS."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(script: Script, *, context: ssl.SSLContext | None = None) -> Receiver:
        receiver = Receiver()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(receiver.serve(script, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        receiver.port = server.sockets[0].getsockname()[1]
        return receiver

    yield start
    for server in servers:
        server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def sending() -> AsyncIterator[Sending]:
    """Yield what makes senders, which are closed at the end."""
    senders: list[Sender] = []

    def make(policy: Policy = OPEN, limits: Limits | None = None, **others: object) -> Sender:
        sender = Sender(policy, limits or Limits(), **others)  # type: ignore[arg-type]
        senders.append(sender)
        return sender

    yield make
    for sender in senders:
        await sender.close()


class Names:
    """A resolver with answers for some names, one after the other; the system knows the others."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(each) for name, each in answers.items()}
        self._system = SystemResolver()

    async def __call__(self, host: str) -> Sequence[str]:
        answers = self._answers.get(host)
        if answers is None:
            return await self._system(host)
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Trap:
    """Listens at one port of 127.0.0.1 and ::1 and takes no connection."""

    def __init__(self) -> None:
        self._sockets = [socket.socket(socket.AF_INET), socket.socket(socket.AF_INET6)]
        self._sockets[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._sockets[0].bind(("127.0.0.1", 0))
        self.port = self._sockets[0].getsockname()[1]
        self._sockets[1].bind(("::1", self.port))
        for one in self._sockets:
            one.listen(64)
            one.setblocking(False)

    def caught(self) -> int:
        """Return how many connections came since this was asked last."""
        count = 0
        for one in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    one.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "foreign")


def server_context(authority: Authority, name: str) -> ssl.SSLContext:
    """Return what a receiver shows for a name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(name))
    return context


def client_context(authority: Authority) -> ssl.SSLContext:
    return tls.context(str(Path(authority.ca_file)))
