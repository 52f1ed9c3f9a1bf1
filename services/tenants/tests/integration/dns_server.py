"""A DNS server of the test's own, on a port of this machine."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.TXT import TXT


class DnsServer(asyncio.DatagramProtocol):
    """Answers for the names that it is told of; of others it says that there are none."""

    def __init__(self) -> None:
        self._names: dict[dns.name.Name, list[list[bytes]]] = {}
        self.silent = False
        """Whether it answers nothing at all."""
        self.refusing = False
        """Whether it answers that it cannot tell."""
        self.asked: list[str] = []
        self.port = 0

    def set(self, name: str, *records: Sequence[str | bytes]) -> None:
        """Give a name TXT records, each of one or more strings; without any it exists all the same."""
        self._names[dns.name.from_text(name)] = [
            [text.encode() if isinstance(text, str) else text for text in strings] for strings in records
        ]

    def forget(self, name: str) -> None:
        """Let a name not exist."""
        self._names.pop(dns.name.from_text(name), None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name
        self.asked.append(name.to_text(omit_final_dot=True))
        if self.silent:
            return
        answer = dns.message.make_response(query, recursion_available=True)
        if self.refusing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self._names:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif self._names[name]:
            records = [TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings) for strings in self._names[name]]
            answer.answer.append(dns.rrset.from_rdata_list(name, 60, records))
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def serving_names() -> AsyncIterator[DnsServer]:
    """Answer on a free port until the block ends."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
