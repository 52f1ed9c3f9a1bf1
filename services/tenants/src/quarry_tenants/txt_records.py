"""Looks TXT records up in the DNS."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver
from dns.rdtypes.ANY.TXT import TXT

from quarry_tenants.domain.domains import Lookup, Outcome

LOOK_UP_SECONDS: Final = 5.0
TRIES: Final = 3
"""Of servers, or of one again, within a look."""
DNS_PORT: Final = 53


class TxtResolver(Protocol):
    """Knows what the DNS says."""

    async def look_up(self, name: str) -> Lookup:
        """Return what the TXT records of `name` hold. It takes a bounded time and raises nothing."""


class DnsResolver:
    """Asks `nameservers` (address and port), or those of this machine when there are none."""

    def __init__(
        self, nameservers: Sequence[tuple[str, int]] = (), *, look_up_seconds: float = LOOK_UP_SECONDS
    ) -> None:
        self._look_up_seconds = look_up_seconds
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except dns.resolver.NoResolverConfiguration:
            # A machine without DNS: nobody answers, which each look says.
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        # The next server is asked when one is silent for so long.
        self._resolver.timeout = look_up_seconds / TRIES
        if nameservers:
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(address, port) for address, port in nameservers
            ]

    async def look_up(self, name: str) -> Lookup:
        """Return what the TXT records of `name` hold; the strings of one record are one text."""
        try:
            async with asyncio.timeout(self._look_up_seconds):
                answer = await self._resolver.resolve(
                    f"{name}.", "TXT", search=False, lifetime=self._look_up_seconds
                )
        except dns.resolver.NXDOMAIN:
            return Lookup(Outcome.NO_NAME)
        except dns.resolver.NoAnswer:
            return Lookup(Outcome.NO_RECORD)
        except (dns.exception.DNSException, TimeoutError, OSError):
            return Lookup(Outcome.UNANSWERED)
        return Lookup(Outcome.FOUND, tuple(_text(record) for record in answer if isinstance(record, TXT)))


def nameservers(text: str) -> tuple[tuple[str, int], ...]:
    """Return address and port of each server that `text` lists: `ip`, `ip:port` or `[ip]:port`, and commas.

    Raises `ValueError` that says which is wrong.
    """
    return tuple(_nameserver(part.strip()) for part in text.split(",") if part.strip())


def _nameserver(text: str) -> tuple[str, int]:
    address, colon, port = text.rpartition(":")
    if text.count(":") > 1 and "]:" not in text:
        address, port = text, ""  # an IPv6 address alone
    elif not colon:
        address, port = port, ""
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    wrong = ValueError(f"{text!r} is not an address such as 192.0.2.53, 192.0.2.53:5353 or [::1]:53")
    try:
        found, number = str(ip_address(address)), int(port or DNS_PORT)
    except ValueError:
        raise wrong from None
    if not 1 <= number <= 65_535:
        raise wrong
    return found, number


def _text(record: TXT) -> str:
    return b"".join(record.strings).decode("utf-8", "replace")
