"""Answers that are told as they come."""

import threading
from collections.abc import Callable, Iterator

import pytest
from libs.client.tests.http_server import Received, Reply, Server, problem, running_server

from quarry_client import ApiError, AsyncClient, Client, RetryPolicy, UnreachableError

QUICK = RetryPolicy(attempts=4, first_delay_seconds=0.01, longest_delay_seconds=0.02, budget_seconds=2)
CSV = {"Content-Type": "text/csv; charset=utf-8"}


def replies(*given: Reply) -> Callable[[Received], Reply]:
    left = list(given)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server(lambda _: Reply(200, b"", CSV)) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, "secret", retry=QUICK) as made:
        yield made


def broken() -> Iterator[bytes]:
    yield b"first\r\n"
    raise ConnectionResetError


def test_the_beginning_is_told_before_the_end_has_come(server: Server, client: Client) -> None:
    told = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"first\r\n"
        assert told.wait(10)
        yield b"second\r\n"

    server.answer = lambda _: Reply(200, pieces(), CSV)

    stream = client.export_all_usage()
    assert next(stream) == "first\r\n"
    told.set()
    assert "".join(stream) == "second\r\n"


def test_a_letter_that_comes_in_two_pieces_is_one(server: Server, client: Client) -> None:
    server.answer = lambda _: Reply(200, iter((b"\xc3", b"\xa4\n")), CSV)
    assert "".join(client.export_all_usage()) == "ä\n"


def test_an_answer_that_breaks_off_is_told_and_not_asked_for_again(server: Server, client: Client) -> None:
    server.answer = lambda _: Reply(200, broken(), CSV)
    came: list[str] = []
    with pytest.raises(UnreachableError, match="broke off before its end"):
        came.extend(client.export_all_usage())
    assert came == ["first\r\n"]
    assert len(server.received) == 1


def test_what_has_not_begun_is_asked_for_again(server: Server, client: Client) -> None:
    server.answer = replies(problem(503, "unavailable", "Not now."), Reply(200, b"text", CSV))
    assert list(client.export_all_usage()) == ["text"]
    assert len(server.received) == 2


def test_a_refusal_is_told(server: Server, client: Client) -> None:
    server.answer = lambda _: problem(403, "forbidden", "Operators only.")
    with pytest.raises(ApiError, match="Operators only"):
        list(client.export_all_usage())


def test_a_stopped_client_asks_for_nothing_again(server: Server, client: Client) -> None:
    server.answer = lambda _: problem(503, "unavailable", "Not now.", retry_after=1)
    client.stop_retrying()
    with pytest.raises(UnreachableError, match="given up"):
        list(client.export_all_usage())


async def test_the_async_client_does_the_same(server: Server) -> None:
    server.answer = replies(
        problem(503, "unavailable", "Not now."), Reply(200, broken(), CSV), problem(403, "forbidden", "No.")
    )
    came: list[str] = []
    async with AsyncClient(server.url, "secret", retry=QUICK) as client:
        stream = client.export_all_usage("ndjson")
        came.append(await anext(stream))
        with pytest.raises(UnreachableError, match="broke off"):
            await anext(stream)
        with pytest.raises(ApiError, match="No"):
            await anext(client.export_all_usage())
    assert came == ["first\r\n"]
    assert server.received[0].query == {"format": "ndjson"}
