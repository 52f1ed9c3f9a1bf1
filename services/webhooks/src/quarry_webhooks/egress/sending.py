"""One POST to an endpoint: to a checked address, within a time, and whatever answers cannot do harm."""

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address

import aiohttp
from yarl import URL

from quarry_common import tls
from quarry_webhooks.egress.connecting import Connections, opened
from quarry_webhooks.egress.exchange import Answer, Exchange
from quarry_webhooks.egress.faults import EXPECTED, NOT_CONNECTED, Limits, fault_of
from quarry_webhooks.egress.networks import Address
from quarry_webhooks.egress.resolving import Addresses, Clock, Resolver, SystemResolver
from quarry_webhooks.egress.urls import Policy, Target, permitted

logger = logging.getLogger(__name__)

MIN_CONNECT_SECONDS = 0.05
_MAX_URLS = 4_096
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that belong to the connection and are not the caller's."""


class Sender:
    """Sends deliveries. It is made on the running loop and closed with `close`.

    `resolver`, `context` (says which certificates are trusted) and `clock` (by which resolved addresses age)
    are the system's unless given.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        *,
        resolver: Resolver | None = None,
        context: ssl.SSLContext | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._limits = limits
        self._addresses = Addresses(
            policy.allowed_networks,
            resolver or SystemResolver(),
            lookup_seconds=limits.connect_seconds,
            clock=clock,
        )
        self._connections = Connections(
            policy.allowed_networks, context or tls.context(), stalled_seconds=limits.total_seconds
        )
        self._target = lru_cache(_MAX_URLS)(lambda url: permitted(url, policy))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Send `body` to `url` and return what came of it; only a cancellation is raised.

        The status decides the outcome: a 2xx whose body breaks off has been received all the same. Nothing is
        followed, inflated or repeated, but that a kept connection which proves closed is replaced once.
        """
        begun = time.perf_counter()
        answer, fault = Answer(), None
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                await self._exchange(url, headers, body, answer)
        except (*EXPECTED, ValueError) as error:
            fault = fault_of(error, self._limits)
        except Exception as error:
            # Nothing that a receiver does may end other deliveries.
            logger.exception("A delivery failed in a way that is not known")
            fault = fault_of(error, self._limits)
        return answer.exchange(fault, (time.perf_counter() - begun) * 1_000)

    async def close(self) -> None:
        """Close all connections and end all look-ups."""
        await self._addresses.close()
        await self._connections.close()

    async def _exchange(self, url: str, headers: Mapping[str, str], body: bytes, answer: Answer) -> None:
        target = self._target(url)
        sent = {name: value for name, value in headers.items() if name.lower() not in _OURS}
        sent["Host"] = target.authority
        sent["Accept-Encoding"] = "identity"
        if target.address is not None:
            await self._reach(target, (target.address,), sent, body, answer)
            return
        await self._reach(target, await self._addresses.of(target.host), sent, body, answer)

    async def _reach(
        self,
        target: Target,
        addresses: tuple[Address, ...],
        headers: dict[str, str],
        body: bytes,
        answer: Answer,
    ) -> None:
        """Send to the first address that can be connected to; nothing was sent to those before."""
        until = time.monotonic() + self._limits.connect_seconds
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = max(MIN_CONNECT_SECONDS, until - time.monotonic()) / left
            try:
                response = await self._send(target, address, headers, body, share)
            except NOT_CONNECTED:
                if left > 1:
                    continue
                self._addresses.forget(target.host)
                raise
            if address is not addresses[0]:
                self._addresses.prefer(target.host, address)
            async with asyncio.timeout(self._limits.body_seconds):
                await answer.read(response)
            return

    async def _send(
        self,
        target: Target,
        address: Address,
        headers: dict[str, str],
        body: bytes,
        connect_seconds: float,
    ) -> aiohttp.ClientResponse:
        """Return the response, its body unread, over a kept connection or a new one."""
        url, server_name = _pinned(target, address)
        lasting, fresh = self._connections.for_host(target.authority), self._connections.fresh
        flags: list[bool] = []
        token = opened.set(flags)
        try:
            try:
                return await _post(lasting, url, server_name, headers, body, connect_seconds)
            except NOT_CONNECTED:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if flags:
                    raise
                # The receiver closed a connection that was idle, just when it was used again.
                return await _post(fresh, url, server_name, headers, body, connect_seconds)
        finally:
            opened.reset(token)


async def _post(
    session: aiohttp.ClientSession,
    url: URL,
    server_name: str | None,
    headers: dict[str, str],
    body: bytes,
    connect_seconds: float,
) -> aiohttp.ClientResponse:
    return await session.post(
        url,
        data=body,
        headers=headers,
        allow_redirects=False,
        server_hostname=server_name,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
    )


@lru_cache(_MAX_URLS)
def _pinned(target: Target, address: Address) -> tuple[URL, str | None]:
    """Return a URL that names the checked address, so that nothing is left to resolve, and the name for TLS.

    Connections are kept under both: they are used again for the same name at the same address only.
    """
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    url = URL(f"{target.scheme}://{host}:{target.port}{target.path}", encoded=True)
    return url, target.host if target.scheme == "https" else None
