"""Following a job over server-sent events."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
from libs.client.tests.http_server import Received, Reply, Server, problem, running_server
from libs.client.tests.platform import NOW

from quarry_client import (
    ApiError,
    AsyncClient,
    Client,
    MissedEventsError,
    RetryPolicy,
    UnreachableError,
    UnreadableAnswerError,
    calls,
)
from quarry_client.watching import Event, EventReader, JobWatch

QUICK = RetryPolicy(attempts=4, first_delay_seconds=0.01, longest_delay_seconds=0.02, budget_seconds=2)
ID = uuid4()


def job(revision: int, state: str = "running", **more: object) -> str:
    data = {"id": str(ID), "document_id": str(ID), "state": state, "created_at": NOW, "revision": revision}
    return f"event: job\nid: {revision}\ndata: {json.dumps(data | more, ensure_ascii=False)}\n\n"


OPEN = httpx.Response(200, headers={"Content-Type": "text/event-stream"})
END = 'event: end\ndata: {"state":"succeeded"}\n\n'


def failed(status: int, code: str) -> str:
    data = {"status": status, "code": code, "detail": "Told in the stream.", "advice": "Wait."}
    return f"event: error\ndata: {json.dumps(data)}\n\n"


def stream(*parts: str) -> Reply:
    body = "".join(("retry: 10\n\n", ": comment\n\n", *parts))
    return Reply(200, body.encode(), {"Content-Type": "text/event-stream; charset=utf-8"})


def replies(*given: Reply) -> Callable[[Received], Reply]:
    left = list(given)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server(replies(stream(job(1), END))) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, "secret", retry=QUICK) as made:
        yield made


def revisions(client: Client) -> list[int]:
    return [each.revision for each in client.watch_job(ID)]


def test_each_state_is_yielded_until_the_end(server: Server, client: Client) -> None:
    server.answer = replies(stream(job(1, "queued"), job(2, chunks_done=3), job(3, "succeeded"), END))

    states = [(each.state, each.chunks_done) for each in client.watch_job(ID)]

    assert states == [("queued", 0), ("running", 3), ("succeeded", 0)]
    (request,) = server.received
    assert (request.path, request.headers["accept"]) == (f"/api/jobs/{ID}/events", "text/event-stream")
    assert "last-event-id" not in request.headers


def test_a_stream_that_ends_early_is_resumed_and_nothing_is_told_twice(
    server: Server, client: Client
) -> None:
    server.answer = replies(stream(job(1), job(2)), stream(), stream(job(3)), stream(END))

    assert revisions(client) == [1, 2, 3]

    assert [request.headers.get("last-event-id") for request in server.received] == [None, "2", "2", "3"]


def test_an_absent_platform_is_waited_for(server: Server, client: Client) -> None:
    away = problem(503, "unavailable", "Not now.", retry_after=0)
    server.answer = replies(
        away, stream(job(1)), away, away, stream(job(2), failed(503, "unavailable")), stream(job(3), END)
    )

    assert revisions(client) == [1, 2, 3]


def test_a_connection_that_breaks_in_the_middle_of_an_event_is_resumed() -> None:
    asked: list[bytes] = []
    whole = stream(job(1), job(2), END).body
    assert isinstance(whole, bytes)

    def serve(listening: socket.socket) -> None:
        for body, length in ((whole[: whole.index(b'"revision": 2')], 9999), (whole[-200:], 200)):
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65536))
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\n\r\n"
                )
                connection.sendall(head.encode() + body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve, args=(listening,))
        serving.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Client(url, "secret", retry=QUICK) as client:
            told = revisions(client)
        serving.join(timeout=10)

    # What came of the second event is forgotten; the rest of the next stream begins within another one.
    assert told[0] == 1
    assert b"Last-Event-ID: 1\r\n" in asked[1]


def test_a_stream_that_tells_nothing_is_not_opened_for_ever(server: Server, client: Client) -> None:
    server.answer = replies(stream())

    with pytest.raises(UnreachableError, match="again and again"):
        revisions(client)

    assert len(server.received) == QUICK.attempts


def test_the_problem_that_ends_every_stream_is_told_at_last(server: Server, client: Client) -> None:
    server.answer = replies(stream(failed(503, "unavailable")))

    with pytest.raises(ApiError, match="Told in the stream") as caught:
        revisions(client)

    assert (caught.value.status, caught.value.code, caught.value.advice) == (503, "unavailable", "Wait.")
    assert len(server.received) == QUICK.attempts


@pytest.mark.parametrize("status", [401, 404])
def test_a_final_problem_in_a_stream_is_raised_at_once(server: Server, client: Client, status: int) -> None:
    server.answer = replies(stream(job(1), failed(status, "gone")))

    with pytest.raises(ApiError, match="Told in the stream") as caught:
        revisions(client)

    assert caught.value.status == status
    assert len(server.received) == 1


def test_a_job_that_is_not_there_is_told(server: Server, client: Client) -> None:
    server.answer = replies(problem(404, "not_found", "There is no such job."))

    with pytest.raises(ApiError, match="no such job"):
        revisions(client)

    assert len(server.received) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>It works!</html>", {"Content-Type": "text/html"}),
        stream("event: job\ndata: {\n\n"),
        stream('event: job\ndata: {"id": 3}\n\n'),
    ],
)
def test_what_is_no_stream_of_events_is_told(server: Server, client: Client, reply: Reply) -> None:
    server.answer = replies(reply)

    with pytest.raises(UnreadableAnswerError):
        revisions(client)


def test_what_a_newer_server_tells_besides_is_passed_over(server: Server, client: Client) -> None:
    server.answer = replies(stream("event: mood\ndata: good\n\n", job(1, unknown=1), END))

    assert revisions(client) == [1]


def test_a_reader_that_leaves_closes_the_stream(server: Server, client: Client) -> None:
    server.answer = replies(stream(job(1), job(2)))

    for each in client.watch_job(ID):
        assert each.revision == 1
        break

    assert len(server.received) == 1


def test_nobody_listening_ends_in_a_sentence() -> None:
    with (
        Client("http://127.0.0.1:1", "secret", retry=QUICK) as client,
        pytest.raises(UnreachableError, match="Nothing answers"),
    ):
        revisions(client)


async def test_the_async_client_follows_jobs_too(server: Server) -> None:
    busy = problem(503, "unavailable", "Not now.", retry_after=0)
    server.answer = replies(busy, stream(job(1)), stream(job(2), END))

    async with AsyncClient(server.url, "secret", retry=QUICK) as client:
        told = [each.revision async for each in client.watch_job(ID)]

    assert told == [1, 2]
    assert server.received[2].headers["last-event-id"] == "1"


def test_a_long_quiet_stream_was_a_good_one() -> None:
    time = 0.0
    watch = JobWatch(calls.watch_job(ID), QUICK, "http://x", clock=lambda: time)

    for _ in range(20):
        assert watch.opened(OPEN) is None
        time += 3600
        assert watch.ended() >= 0


def test_time_without_a_stream_makes_no_new_tries() -> None:
    time = 0.0
    watch = JobWatch(calls.watch_job(ID), QUICK, "http://x", clock=lambda: time)
    assert watch.opened(OPEN) is None
    time += 3600
    watch.ended()

    for _ in range(QUICK.attempts - 2):
        time += 3600
        watch.broke(httpx.ConnectError("refused"))
    with pytest.raises(UnreachableError, match="Nothing answers"):
        watch.broke(httpx.ConnectError("refused"))


def test_a_stream_that_was_refused_was_not_open() -> None:
    time = 0.0
    watch = JobWatch(calls.watch_job(ID), QUICK, "http://x", clock=lambda: time)

    for _ in range(QUICK.attempts - 1):
        time += 3600
        watch.opened(httpx.Response(503, content=b""))
    time += 3600
    with pytest.raises(UnreachableError, match="Nothing answers"):
        watch.broke(httpx.ConnectError("refused"))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_events_are_read_wherever_the_bytes_are_cut(ends: str) -> None:
    title = '{"title":"a\u2028b\x85c\u00e4"}'
    first = (": hello", "event: job", "id: 7", f"data: {title}", "", "data:one", "data: two", "")
    rest = ("event: nothing", "", "retry: 250", "retry: soon", "id: 9", "data", "", "id: 10", "data: cut off")
    text = ends.join((*first, *rest))
    for size in (1, 2, 7, 1000):
        reader = EventReader()
        body = text.encode()
        found = [
            event for start in range(0, len(body), size) for event in reader.read(body[start : start + size])
        ]

        assert found == [Event("job", title), Event("message", "one\ntwo"), Event("message", "")]
        assert (reader.last_id, reader.retry_seconds) == ("9", 0.25)


def test_a_job_is_a_typed_struct(client: Client) -> None:
    (each,) = client.watch_job(ID)

    assert isinstance(each.id, UUID)


def told(place: str, kind: str = "document.indexed", **data: object) -> str:
    event = {
        "id": str(uuid4()), "type": kind, "source": "/quarry/indexer", "subject": str(ID), "time": NOW,
        "tenantid": str(ID), "data": data, "specversion": "1.0",
    }  # fmt: skip
    return f"id: {place}\ndata: {json.dumps(event)}\n\n"


def test_events_are_yielded_with_their_place_and_a_broken_stream_goes_on(
    server: Server, client: Client
) -> None:
    missed = 'event: missed\ndata: {"detail":"Some are gone."}\n\n'
    begin, place = "id: begin\n\n", ": still there\nid: moved\n\n"
    server.answer = replies(
        stream(begin), stream(told("a", n=1), told("b"), place), stream(missed, told("c"))
    )
    remarks: list[str] = []
    since = datetime(2027, 1, 31, 9, tzinfo=UTC)

    following = client.follow_events(["document.*", "job.failed"], since=since, on_missed=remarks.append)
    events = [next(following) for _ in range(3)]

    assert [(each.place, each.type, each.data) for each in events] == [
        ("a", "document.indexed", {"n": 1}),
        ("b", "document.indexed", {}),
        ("c", "document.indexed", {}),
    ]
    assert remarks == ["Some are gone."]
    assert [each.headers.get("last-event-id") for each in server.received] == [None, "begin", "moved"]
    asked = {"event_types": "document.*,job.failed", "since": "2027-01-31T09:00:00+00:00"}
    assert [(each.path, each.query) for each in server.received] == [("/api/events/stream", asked)] * 3


def test_events_that_are_missed_are_an_error_unless_somebody_hears_of_it(
    server: Server, client: Client
) -> None:
    server.answer = replies(stream('event: missed\ndata: {"detail":"Some are gone."}\n\n', told("c")))

    with pytest.raises(MissedEventsError, match="Some are gone") as caught:
        next(client.follow_events(after="x"))

    assert "Read anew" in caught.value.advice
    assert server.received[0].headers["last-event-id"] == "x"


async def test_the_async_client_follows_events_too(server: Server) -> None:
    server.answer = replies(stream(told("a")), stream(told("b")))
    places = []
    async with AsyncClient(server.url, "secret", retry=QUICK) as client:
        async for each in client.follow_events(everywhere=True):
            places.append(each.place)
            if len(places) == 2:
                break

    assert places == ["a", "b"]
    assert server.received[1].path == "/api/admin/events/stream"
