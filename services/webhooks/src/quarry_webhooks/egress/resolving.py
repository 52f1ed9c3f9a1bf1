"""Names are resolved here, once for each connection, and what comes of it is judged before it is used."""

import asyncio
import contextlib
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from quarry_webhooks.egress.networks import Address, Network, forbidden, parse_address

KEEP_SECONDS = 30.0
"""For how long addresses are used before the name is resolved again, whatever the DNS says of it."""
KEEP_FAILURE_SECONDS = 5.0
"""So that a burst of deliveries to a name that does not resolve is one question."""
MAX_KEPT = 10_000
MAX_LOOKUPS = 64
"""Questions at the same time; further ones wait within their deadline."""
MAX_ADDRESSES = 3
"""Of a name, that are tried."""

Clock = Callable[[], float]


class UnresolvedError(Exception):
    """A name stands for no address, or the DNS did not say in time."""


class ForbiddenAddressError(Exception):
    """A name stands for an address that deliveries may not reach; the message does not name it."""


class Resolver(Protocol):
    """Finds the addresses of a name."""

    async def __call__(self, host: str) -> Sequence[str]:
        """Return the addresses of `host`, the one to try first at the beginning. Raises `OSError`."""


class SystemResolver:
    """The resolver of the operating system.

    Each question has a thread of its own: the system's call cannot be ended, and a pool would be full of the
    names that nobody answers for. Nothing waits for these threads when the process ends.
    """

    def __init__(self, max_lookups: int = MAX_LOOKUPS) -> None:
        self._free = asyncio.Semaphore(max_lookups)

    async def __call__(self, host: str) -> Sequence[str]:
        """Return the addresses of `host` in the order of the system (RFC 6724). Raises `OSError`."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def done(found: list[str] | None, error: OSError | None) -> None:
            # Only now, as a question that nobody waits for any more still has its thread.
            self._free.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def ask() -> None:
            found, error = None, None
            try:
                rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                found = list(dict.fromkeys(str(row[4][0]) for row in rows))
            except (OSError, UnicodeError) as caught:
                error = caught if isinstance(caught, OSError) else OSError(str(caught))
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(done, found, error)

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        return await answer


class _Kept(msgspec.Struct, frozen=True):
    until: float
    addresses: tuple[Address, ...] = ()
    error: UnresolvedError | ForbiddenAddressError | None = None


class Addresses:
    """The addresses of names, each checked; they are kept for half a minute and then asked for again."""

    def __init__(
        self,
        allowed: Sequence[Network],
        resolver: Resolver,
        *,
        lookup_seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolver = resolver
        self._lookup_seconds = lookup_seconds
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asked: dict[str, asyncio.Task[_Kept]] = {}

    async def of(self, host: str) -> tuple[Address, ...]:
        """Return the addresses to try for `host`, one at least.

        If any address of the name is forbidden none is returned: which one is used would be chance. Raises
        `ForbiddenAddressError` and `UnresolvedError`.
        """
        kept = self._kept.get(host)
        if kept is None or kept.until <= self._clock():
            kept = await self._ask_once(host)
        if kept.error is not None:
            # A new one, as an error that is raised twice gathers tracebacks.
            raise type(kept.error)(*kept.error.args)
        return kept.addresses

    def prefer(self, host: str, address: Address) -> None:
        """Try `address` first from now on, because it answered when others did not."""
        kept = self._kept.get(host)
        if kept is not None and address in kept.addresses and kept.addresses[0] != address:
            others = tuple(other for other in kept.addresses if other != address)
            self._kept[host] = _Kept(kept.until, (address, *others))

    def forget(self, host: str) -> None:
        """Ask again at the next delivery, because none of the addresses could be reached."""
        self._kept.pop(host, None)

    async def close(self) -> None:
        """End the questions that are not answered."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_once(self, host: str) -> _Kept:
        """Join the question that is under way, or begin one; who gives up does not end it for others."""
        task = self._asked.get(host)
        if task is None:
            task = asyncio.create_task(self._ask(host), name="resolve")
            self._asked[host] = task
            task.add_done_callback(lambda _done: self._asked.pop(host, None))
        return await asyncio.shield(task)

    async def _ask(self, host: str) -> _Kept:
        try:
            async with asyncio.timeout(self._lookup_seconds):
                found = await self._resolver(host)
            kept = self._judge(found)
        except TimeoutError:
            kept = self._failure(f"The name was not resolved within {self._lookup_seconds:g} s.")
        except OSError:
            kept = self._failure("The name could not be resolved.")
        self._kept[host] = kept
        self._kept.move_to_end(host)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return kept

    def _judge(self, found: Sequence[str]) -> _Kept:
        if not found:
            return self._failure("The name stands for no address.")
        try:
            addresses = tuple(parse_address(text) for text in found)
        except ValueError:
            return self._failure("The name could not be resolved.")
        if any(forbidden(address, self._allowed) for address in addresses):
            error = ForbiddenAddressError(
                "The name stands for an address that deliveries may not go to: one that is private, local or "
                "reserved."
            )
            return _Kept(self._clock() + KEEP_FAILURE_SECONDS, error=error)
        return _Kept(self._clock() + KEEP_SECONDS, addresses[:MAX_ADDRESSES])

    def _failure(self, sentence: str) -> _Kept:
        return _Kept(self._clock() + KEEP_FAILURE_SECONDS, error=UnresolvedError(sentence))
