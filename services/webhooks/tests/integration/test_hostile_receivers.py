"""Receivers that stall, lie, flood or redirect: each attempt ends in time and says how."""

import asyncio
import gzip
import itertools
import tracemalloc
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence

import psutil
import pytest
from tests.tls import Authority

from quarry_common.contracts.webhooks import Outcome
from quarry_webhooks.egress.exchange import MAX_BODY_BYTES
from quarry_webhooks.egress.faults import Limits

from .conftest import QUICK, Receiving, Script, Sending, Trap, client_context, server_context

NAME = "hooks.acme.example"


def says(answer: bytes, *, then_closes: bool = False) -> Script:
    """Return a script that answers with these bytes."""

    async def script(_reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(answer)
        if then_closes:
            await writer.drain()
            raise ConnectionAbortedError

    return script


def drips(beginning: bytes, drop: bytes) -> Script:
    """Return a script that sends `drop` again and again, a little at a time, for ever."""

    async def script(_reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(beginning)
        for number in itertools.count():
            writer.write(drop.replace(b"N", str(number).encode()))
            await writer.drain()
            await asyncio.sleep(0.01)

    return script


def floods(beginning: bytes, piece: bytes, size: int) -> Script:
    """Return a script that sends as much as is taken, up to `size` bytes."""

    async def script(_reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(beginning)
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()

    return script


OK = b"HTTP/1.1 200 OK\r\n"
LONG = OK + b"content-length: 1073741824\r\n\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
NOT_HTTP = "not valid HTTP, or its headers are too long"
NONE_YET = "There was no response within 0.5 s."
BROKE_OFF = "broke off after its headers"
NO_RESPONSE = "closed the connection without a response"
DELIVERED, REFUSED = Outcome.DELIVERED, Outcome.REFUSED
TIMEOUT, FAILED = Outcome.TIMEOUT, Outcome.CONNECTION_FAILED

BEHAVIOURS: dict[str, tuple[Script, Outcome, int | None, str]] = {
    "redirect to metadata": (
        says(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n"),
        REFUSED,
        302,
        "redirects are not followed",
    ),
    "gone": (says(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"), REFUSED, 410, "wants nothing any more"),
    "not modified": (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), REFUSED, 304, "not followed"),
    "upgrade": (
        says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        REFUSED,
        101,
        "only 2xx",
    ),
    "status beyond all": (says(b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n"), REFUSED, 999, "only 2xx"),
    "silence": (drips(b"", b""), TIMEOUT, None, NONE_YET),
    "drip of a status": (drips(b"HTTP/1.1 200 O", b"K"), TIMEOUT, None, NONE_YET),
    "drip of headers": (drips(OK, b"x-N: 1\r\n"), TIMEOUT, None, NONE_YET),
    "drip of one header": (drips(OK + b"x: ", b"1"), TIMEOUT, None, NONE_YET),
    "continue for ever": (drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TIMEOUT, None, NONE_YET),
    "early hints for ever": (
        drips(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        TIMEOUT,
        None,
        NONE_YET,
    ),
    "drip of a body": (drips(LONG, b"x"), DELIVERED, 200, BROKE_OFF),
    "drip of chunks": (drips(CHUNKED, b"1\r\nx\r\n"), DELIVERED, 200, BROKE_OFF),
    "drip of a refusal": (
        drips(b"HTTP/1.1 500 No\r\ncontent-length: 1000000\r\n\r\n", b"x"),
        REFUSED,
        500,
        "answered 500",
    ),
    "1 GB of body": (floods(LONG, b"x" * 65_536, 2**30), DELIVERED, 200, ""),
    "1 GB in chunks": (floods(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n", 2**30), DELIVERED, 200, ""),
    "1 GB of no length": (floods(OK + b"\r\n", b"x" * 65_536, 2**30), DELIVERED, 200, ""),
    "1 GB of headers": (floods(OK, b"x-filler: " + b"x" * 1_000 + b"\r\n", 2**30), FAILED, None, NOT_HTTP),
    "1 GB of one header": (floods(OK + b"x: ", b"x" * 65_536, 2**30), FAILED, None, NOT_HTTP),
    "1 GB of a status": (floods(b"HTTP/1.1 200 ", b"x" * 65_536, 2**30), FAILED, None, NOT_HTTP),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.9\r\n"), FAILED, None, NOT_HTTP),
    "HTTP/0.9": (says(b"hello", then_closes=True), FAILED, None, NOT_HTTP),
    "HTTP/2": (says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), FAILED, None, NOT_HTTP),
    "TLS": (says(b"\x15\x03\x03\x00\x02\x02\x28"), FAILED, None, NOT_HTTP),
    "two lengths": (
        says(OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx"),
        FAILED,
        None,
        NOT_HTTP,
    ),
    "negative length": (says(OK + b"content-length: -1\r\n\r\n"), FAILED, None, NOT_HTTP),
    "NUL in a header": (says(OK + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n"), FAILED, None, NOT_HTTP),
    "closed at once": (says(b"", then_closes=True), FAILED, None, NO_RESPONSE),
    "closed in the status": (says(b"HTTP/1.1 20", then_closes=True), FAILED, None, NO_RESPONSE),
    "closed in the headers": (says(OK + b"x: 1\r\n", then_closes=True), FAILED, None, NO_RESPONSE),
    "closed in the body": (
        says(OK + b"content-length: 10\r\n\r\nhalf", then_closes=True),
        DELIVERED,
        200,
        BROKE_OFF,
    ),
    "HTTP/1.0": (says(b"HTTP/1.0 200 OK\r\n\r\nfine", then_closes=True), DELIVERED, 200, ""),
    "no body": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), DELIVERED, 204, ""),
    "two answers": (says((OK + b"content-length: 2\r\n\r\nok") * 2), DELIVERED, 200, ""),
}


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_a_receiver_cannot_do_harm(name: str, receiving: Receiving, sending: Sending) -> None:
    script, outcome, status, words = BEHAVIOURS[name]
    receiver = await receiving(script)

    exchange = await sending(limits=QUICK).post(receiver.url(), {}, b"{}")

    assert (exchange.outcome, exchange.status) == (outcome, status), exchange
    assert words in exchange.detail
    assert "127.0.0.1" not in exchange.detail
    assert len(exchange.excerpt) <= 1_024


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(
    status: int, trap: Trap, receiving: Receiving, sending: Sending
) -> None:
    location = f"http://127.0.0.1:{trap.port}/latest/meta-data/"
    receiver = await receiving(
        says(f"HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())
    )

    exchange = await sending().post(receiver.url(), {}, b"{}")

    assert trap.caught() == 0
    assert len(receiver.requests) == 1
    assert (exchange.outcome, exchange.status) == (Outcome.REFUSED, status)
    assert exchange.headers["location"] == location


async def test_nothing_is_inflated(receiving: Receiving, sending: Sending) -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    head = b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    receiver = await receiving(says(OK + head + bomb))

    tracemalloc.start()
    exchange = await sending().post(receiver.url(), {}, b"{}")
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert exchange.outcome is Outcome.DELIVERED
    # As it came: a gzip file begins with 1f 8b 08.
    assert exchange.excerpt.startswith("\ufffd" * 3)
    assert b"accept-encoding: identity" in receiver.requests[0][0].lower()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("head", "piece"),
    [(LONG, b"x" * 65_536), (CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"), (OK, b"x: " + b"x" * 65_536)],
    ids=["body", "chunks", "headers"],
)
async def test_little_is_read_of_a_flood(
    head: bytes, piece: bytes, receiving: Receiving, sending: Sending
) -> None:
    sent = 0

    async def flood(_reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal sent
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    receiver = await receiving(flood)

    await sending().post(receiver.url(), {}, b"{}")
    async with asyncio.timeout(10):
        await receiver.gone.wait()

    # The kernel's buffers on both sides take some megabytes more than is read.
    assert sent < 100 * MAX_BODY_BYTES + 10_000_000


async def test_a_flood_over_tls_ends_at_once(
    receiving: Receiving, sending: Sending, authority: Authority
) -> None:
    receiver = await receiving(
        floods(LONG, b"x" * 65_536, 2**30), context=server_context(authority, "127.0.0.1")
    )

    exchange = await sending(context=client_context(authority)).post(receiver.url(scheme="https"), {}, b"{}")

    assert exchange.outcome is DELIVERED
    # TLS is not ended in good order, for which the receiver would have to be quiet.
    async with asyncio.timeout(10):
        await receiver.gone.wait()


async def test_a_body_has_a_time_of_its_own(receiving: Receiving, sending: Sending) -> None:
    receiver = await receiving(drips(LONG, b"x"))
    limits = Limits(total_seconds=100.0, body_seconds=0.1)

    exchange = await sending(limits=limits).post(receiver.url(), {}, b"{}")

    assert exchange.outcome is DELIVERED
    assert BROKE_OFF in exchange.detail


@pytest.mark.parametrize(
    "flood",
    [
        floods(CHUNKED, b"0" * 65_536, 2**30),
        floods(CHUNKED + b"1;x=", b"x" * 65_536, 2**30),
        floods(CHUNKED + b"0\r\n", b"x-filler: " + b"x" * 1_000 + b"\r\n", 2**30),
    ],
    ids=["size of a chunk", "extension of a chunk", "trailers"],
)
async def test_a_flood_between_pieces_of_a_body_ends(
    flood: Script, receiving: Receiving, sending: Sending
) -> None:
    receiver = await receiving(flood)

    exchange = await sending(limits=QUICK).post(receiver.url(), {}, b"{}")
    async with asyncio.timeout(10):
        await receiver.gone.wait()

    # Whether the status is seen before what follows it is chance.
    assert exchange.outcome in {DELIVERED, FAILED}
    assert exchange.detail
    assert exchange.excerpt == ""


async def test_a_receiver_that_reads_nothing_is_given_up(trap: Trap, sending: Sending) -> None:
    exchange = await sending(limits=QUICK).post(f"http://127.0.0.1:{trap.port}/", {}, b"x" * 1_000_000)

    assert exchange.outcome is Outcome.TIMEOUT
    assert exchange.detail == NONE_YET


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_bytes_that_nobody_takes_do_not_keep_a_connection(trap: Trap, sending: Sending) -> None:
    def open_connections() -> int:
        ours = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == trap.port for one in ours)

    # More than the kernel takes from us.
    await sending(limits=QUICK).post(f"http://127.0.0.1:{trap.port}/", {}, b"x" * 30_000_000)

    async with asyncio.timeout(20):
        while open_connections():
            await asyncio.sleep(0.01)


async def test_a_listener_that_does_not_answer_to_tls_is_given_up(trap: Trap, sending: Sending) -> None:
    limits = Limits(connect_seconds=0.1, total_seconds=100.0)

    exchange = await sending(limits=limits).post(f"https://127.0.0.1:{trap.port}/", {}, b"{}")

    assert exchange.outcome is Outcome.TIMEOUT
    assert exchange.detail == "There was no connection within 0.1 s."


async def test_a_port_at_which_nothing_listens_is_told(trap: Trap, sending: Sending) -> None:
    trap.close()

    exchange = await sending().post(f"http://127.0.0.1:{trap.port}/", {}, b"{}")

    assert exchange.outcome is Outcome.CONNECTION_FAILED
    assert exchange.detail == "The receiver could not be connected to."


async def test_a_resolver_that_never_answers_is_given_up(sending: Sending) -> None:
    async def never(_host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    sender = sending(limits=Limits(connect_seconds=0.05, total_seconds=5.0), resolver=never)

    exchange = await sender.post(f"https://{NAME}/", {}, b"{}")

    assert exchange.outcome is Outcome.UNRESOLVED
    assert exchange.detail == "The name was not resolved within 0.05 s."


async def test_a_cancelled_attempt_ends_its_connection(receiving: Receiving, sending: Sending) -> None:
    receiver = await receiving(drips(b"", b""))
    attempt = asyncio.create_task(sending().post(receiver.url(), {}, b"{}"))
    async with asyncio.timeout(10):
        while not receiver.requests:
            await asyncio.sleep(0.001)

        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
