"""What is sent, over which connection, and to whom: host, certificate and address belong together."""

import asyncio
import socket
import time
from asyncio import StreamReader, StreamWriter

import pytest
from standardwebhooks import Webhook
from tests.tls import Authority

from quarry_common.contracts.webhooks import Outcome
from quarry_webhooks.egress.faults import Limits
from quarry_webhooks.egress.resolving import KEEP_SECONDS
from quarry_webhooks.signing import generate_secret, signatures

from .conftest import Names, Receiving, Sending, client_context, server_context

NAME = "hooks.acme.example"
HERE = Names({NAME: [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})


async def fine(_reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nfine")


async def test_a_delivery_arrives_and_verifies(receiving: Receiving, sending: Sending) -> None:
    receiver, secret, body = await receiving(fine), generate_secret(), '{"title":"Überblick"}'.encode()
    now = int(time.time())
    headers = {
        "webhook-id": "evt-1",
        "webhook-timestamp": str(now),
        "webhook-signature": signatures([secret], "evt-1", now, body),
        "content-type": "application/json",
    }

    exchange = await sending(resolver=HERE).post(receiver.url("/a?b=c", host=NAME), headers, body)

    head, got = receiver.requests[0]
    lines = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
    Webhook(secret).verify(got, lines)
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert lines["Host"] == f"{NAME}:{receiver.port}"
    assert lines["Accept-Encoding"] == "identity"
    assert set(lines) == {*headers, "Host", "Accept-Encoding", "Content-Length"}
    assert (exchange.outcome, exchange.status, exchange.detail) == (Outcome.DELIVERED, 200, "")
    assert exchange.headers == {"content-type": "text/plain", "content-length": "4"}
    assert exchange.excerpt == "fine"
    assert exchange.duration_ms > 0


async def test_headers_of_the_connection_are_not_the_callers(receiving: Receiving, sending: Sending) -> None:
    receiver = await receiving(fine)
    theirs = {
        "HOST": "169.254.169.254",
        "Content-Length": "0",
        "Transfer-Encoding": "chunked",
        "Connection": "close",
        "Expect": "100-continue",
        "Accept-Encoding": "gzip",
        "Authorization": "Bearer t",
    }

    await sending().post(receiver.url(), theirs, b"{}")

    head = receiver.requests[0][0].lower()
    assert b"169.254" not in head
    for line in (b"transfer-encoding", b"connection:", b"expect", b"gzip"):
        assert line not in head
    assert b"authorization: bearer t" in head
    assert head.count(b"\r\nhost:") == head.count(b"\r\ncontent-length: 2\r\n") == 1


async def test_a_header_of_two_lines_is_not_sent(receiving: Receiving, sending: Sending) -> None:
    receiver = await receiving(fine)

    exchange = await sending().post(receiver.url(), {"x-own": "a\r\nx-injected: b"}, b"{}")

    assert exchange.outcome is Outcome.CONNECTION_FAILED
    assert exchange.detail == "A header of the endpoint cannot be sent."
    assert receiver.requests == []


async def test_connections_are_used_again(receiving: Receiving, sending: Sending) -> None:
    receiver, sender = await receiving(fine), sending(resolver=HERE)

    for _ in range(10):
        await sender.post(receiver.url(host=NAME), {}, b"{}")

    assert len(receiver.requests) == 10
    assert receiver.connections == 1


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    receiving: Receiving, sending: Sending
) -> None:
    answered = 0

    async def hangs_up(_reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal answered
        answered += 1
        if answered == 2:
            raise ConnectionAbortedError
        await fine(_reader, writer)

    receiver, sender = await receiving(hangs_up), sending()

    first = await sender.post(receiver.url(), {}, b"1")
    second = await sender.post(receiver.url(), {}, b"2")

    assert (first.outcome, second.outcome) == (Outcome.DELIVERED, Outcome.DELIVERED)
    assert [body for _head, body in receiver.requests] == [b"1", b"2", b"2"]


async def test_a_new_connection_that_is_closed_is_not_replaced(
    receiving: Receiving, sending: Sending
) -> None:
    async def hangs_up(_reader: StreamReader, _writer: StreamWriter) -> None:
        raise ConnectionAbortedError

    receiver = await receiving(hangs_up)

    exchange = await sending().post(receiver.url(), {}, b"{}")

    assert exchange.outcome is Outcome.CONNECTION_FAILED
    assert receiver.connections == 1


async def test_a_body_beyond_the_bound_costs_the_connection(receiving: Receiving, sending: Sending) -> None:
    async def long(_reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 10_000_000)

    receiver, sender = await receiving(long), sending()

    for _ in range(2):
        exchange = await sender.post(receiver.url(), {}, b"{}")
        assert (exchange.outcome, exchange.excerpt, exchange.detail) == (Outcome.DELIVERED, "x" * 1_024, "")

    assert receiver.connections == 2


async def test_a_name_that_moves_is_followed_though_its_connection_is_kept(
    receiving: Receiving, sending: Sending
) -> None:
    now = 0.0
    names = Names({NAME: [["127.0.0.1"], ["127.0.0.2"]]})
    receiver, sender = await receiving(fine), sending(resolver=names, clock=lambda: now)

    first = await sender.post(receiver.url(host=NAME), {}, b"{}")
    now = KEEP_SECONDS
    second = await sender.post(receiver.url(host=NAME), {}, b"{}")

    assert first.outcome is Outcome.DELIVERED
    # Nothing listens there; the old connection was not taken in its place.
    assert second.outcome is Outcome.CONNECTION_FAILED


async def test_the_next_address_is_tried_when_one_cannot_be_reached(
    receiving: Receiving, sending: Sending
) -> None:
    receiver = await receiving(fine)
    sender = sending(resolver=Names({NAME: [["::1", "127.0.0.2", "127.0.0.1"]]}))

    for _ in range(2):
        assert (await sender.post(receiver.url(host=NAME), {}, b"{}")).outcome is Outcome.DELIVERED

    assert len(receiver.requests) == 2


async def test_the_address_that_answered_is_tried_first_from_then_on(
    receiving: Receiving, sending: Sending, authority: Authority
) -> None:
    receiver = await receiving(fine, context=server_context(authority, NAME))
    with socket.create_server(("127.0.0.2", receiver.port)) as silent:
        silent.setblocking(False)
        names = Names({NAME: [["127.0.0.2", "127.0.0.1"]]})
        limits = Limits(connect_seconds=2.0)
        sender = sending(limits=limits, resolver=names, context=client_context(authority))
        url = receiver.url(scheme="https", host=NAME)

        assert (await sender.post(url, {}, b"{}")).outcome is Outcome.DELIVERED
        silent.accept()[0].close()
        assert (await sender.post(url, {}, b"{}")).outcome is Outcome.DELIVERED

        with pytest.raises(BlockingIOError):
            silent.accept()


async def test_what_may_have_arrived_is_not_sent_to_the_next_address(
    receiving: Receiving, sending: Sending
) -> None:
    async def never(_reader: StreamReader, _writer: StreamWriter) -> None:
        await asyncio.Event().wait()

    receiver = await receiving(never)
    names = Names({NAME: [["127.0.0.1", "127.0.0.1"]]})
    sender = sending(limits=Limits(connect_seconds=5.0, total_seconds=0.3), resolver=names)

    exchange = await sender.post(receiver.url(host=NAME), {}, b"{}")

    assert exchange.outcome is Outcome.TIMEOUT
    assert len(receiver.requests) == 1


async def test_the_certificate_is_checked_against_the_name(
    receiving: Receiving, sending: Sending, authority: Authority
) -> None:
    names_asked: list[str] = []
    context = server_context(authority, NAME)
    context.sni_callback = lambda _socket, name, _context: names_asked.append(name)
    receiver = await receiving(fine, context=context)
    sender = sending(resolver=HERE, context=client_context(authority))

    right = await sender.post(receiver.url(scheme="https", host=NAME), {}, b"{}")
    other = await sender.post(receiver.url(scheme="https", host="other.example"), {}, b"{}")
    address = await sender.post(receiver.url(scheme="https"), {}, b"{}")

    assert right.outcome is Outcome.DELIVERED
    assert (other.outcome, other.detail) == (
        Outcome.TLS_FAILED,
        "The receiver has a certificate for another host.",
    )
    assert address.outcome is Outcome.TLS_FAILED
    assert names_asked[:2] == [NAME, "other.example"]
    assert f"Host: {NAME}:".encode() in receiver.requests[0][0]
    assert len(receiver.requests) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    receiving: Receiving, sending: Sending, authority: Authority, stranger: Authority
) -> None:
    receiver = await receiving(fine, context=server_context(stranger, NAME))
    url = receiver.url(scheme="https", host=NAME)

    for sender in (sending(resolver=HERE), sending(resolver=HERE, context=client_context(authority))):
        exchange = await sender.post(url, {}, b"{}")
        assert exchange.outcome is Outcome.TLS_FAILED
        assert exchange.detail.startswith("The receiver has a certificate that is not trusted:")

    assert receiver.requests == []


async def test_a_receiver_without_tls_is_told(receiving: Receiving, sending: Sending) -> None:
    async def plain(_reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    receiver = await receiving(plain)

    exchange = await sending(limits=Limits(0.5, 1.0)).post(receiver.url(scheme="https"), {}, b"{}")

    assert exchange.outcome in {Outcome.TLS_FAILED, Outcome.TIMEOUT}
    assert receiver.requests == []


async def test_a_connection_of_one_name_is_not_used_for_another(
    receiving: Receiving, sending: Sending, authority: Authority
) -> None:
    receiver = await receiving(fine, context=server_context(authority, NAME))
    sender = sending(resolver=HERE, context=client_context(authority))

    await sender.post(receiver.url(scheme="https", host=NAME), {}, b"{}")
    other = await sender.post(receiver.url(scheme="https", host="other.example"), {}, b"{}")

    assert other.outcome is Outcome.TLS_FAILED
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_system_resolves_names(host: str, receiving: Receiving, sending: Sending) -> None:
    receiver = await receiving(fine)

    assert (await sending().post(receiver.url(host=host), {}, b"{}")).outcome is Outcome.DELIVERED
