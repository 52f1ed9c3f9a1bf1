"""Connections of HTTP: to addresses that were checked, reused for a while, and never more than some."""

import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import ContextVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from quarry_webhooks.egress.networks import Network, forbidden, parse_address

IDLE_SECONDS = 5.0
MAX_REUSED = 256
"""Hosts whose connections are kept open at the same time; those of others are closed after each request."""
MAX_FIELD_BYTES = 8_190
MAX_FIELDS = 64
"""Of a response's headers, which so have half a megabyte at most."""

# Says of the request that is under way whether a connection was opened for it. A list, as it is filled in by
# what aiohttp calls.
opened: ContextVar[list[bool] | None] = ContextVar("opened", default=None)


class Connections:
    """Two pools: one that keeps connections for reuse, one that closes each after its request."""

    def __init__(
        self,
        allowed: Sequence[Network],
        context: ssl.SSLContext,
        stalled_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stalled_seconds` is for how long bytes may be sent without being taken."""
        self._clock = clock
        self._allowed = tuple(allowed)
        self._stalled_ms = int(stalled_seconds * 1_000)
        self._lasting = self._session(context, force_close=False)
        self.fresh = self._session(context, force_close=True)
        """Opens a connection for each request."""
        self._used: OrderedDict[str, float] = OrderedDict()

    def for_host(self, authority: str) -> aiohttp.ClientSession:
        """Return the pool for a request to a host: the lasting one while not too many hosts use it."""
        now = self._clock()
        if authority not in self._used:
            self._drop_idle(now)
            if len(self._used) >= MAX_REUSED:
                return self.fresh
        self._used[authority] = now
        self._used.move_to_end(authority)
        return self._lasting

    async def close(self) -> None:
        """Close all connections."""
        await self._lasting.close()
        await self.fresh.close()

    def _drop_idle(self, now: float) -> None:
        while self._used:
            authority, used = next(iter(self._used.items()))
            # A request may take longer than it was idle before; then one host more has connections.
            if now - used < IDLE_SECONDS:
                return
            del self._used[authority]

    def _session(self, context: ssl.SSLContext, *, force_close: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # who sends bounds how much is sent at the same time
            force_close=force_close,
            ssl=context,
            resolver=_NoResolver(),
            socket_factory=self._open,
            keepalive_timeout=None if force_close else IDLE_SECONDS,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would resolve and connect for itself
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    def _open(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Open the socket of a connection: the last place at which an address is judged."""
        family, kind, protocol, _name, address = info
        if forbidden(parse_address(str(address[0])), self._allowed):
            raise OSError("deliveries may not go to this address")
        if (flags := opened.get()) is not None:
            flags.append(True)
        made = socket.socket(family, kind, protocol)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A connection that is closed with bytes unsent waits for a receiver that reads nothing.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._stalled_ms)
        return made


class _NoResolver(AbstractResolver):
    """Requests name addresses; a name that came this far would not have been checked."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(f"{host}:{port} ({family.name}) is a name, and those are resolved before")

    async def close(self) -> None:
        pass
