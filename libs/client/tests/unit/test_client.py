"""What the client sends, what it makes of answers, when it tries again and when it stops."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from libs.client.tests.http_server import Received, Reply, Server, problem, running_server
from libs.client.tests.platform import NOW, result

from quarry_client import (
    ApiError,
    AsyncClient,
    Client,
    ClientError,
    RetryPolicy,
    UnreachableError,
    UnreadableAnswerError,
)

QUICK = RetryPolicy(attempts=4, first_delay_seconds=0.01, longest_delay_seconds=0.02, budget_seconds=2)
ACCEPTED = Reply(202, {"document_id": str(uuid4()), "job_id": str(uuid4()), "version": 1})
VERSION = Reply(200, {"version": "1.2.3"})


def replies(*given: Reply) -> Callable[[Received], Reply]:
    """Answer one after the other, and the last one for ever."""
    left = list(given)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server(replies(VERSION)) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, "secret", retry=QUICK) as made:
        yield made


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_every_request_carries_key_and_tenant(server: Server) -> None:
    with Client(server.url, "secret", tenant="acme") as client:
        assert client.version().version == "1.2.3"
    assert server.received[0].headers["x-api-key"] == "secret"
    assert server.received[0].headers["x-tenant"] == "acme"


def test_a_search_sends_only_what_was_asked_and_reads_typed_results(server: Server, client: Client) -> None:
    found = result("a/b.md", page=3, heading_path=["One", "Two"], unknown_field=1)
    answer = {"query_id": str(uuid4()), "mode": "keyword", "query": "x", "total": 1, "results": [found]}
    server.answer = replies(Reply(200, answer))

    read = client.search("x", mode="keyword", limit=5, filters={"tags": ["law"]})

    assert server.received[0].json() == {
        "query": "x",
        "mode": "keyword",
        "limit": 5,
        "filters": {"tags": ["law"]},
        "group_by_document": False,
        "highlight": False,
    }
    assert read.results[0].page == 3
    assert read.cache == "off"
    assert read.results[0].heading_path == ["One", "Two"]
    assert isinstance(read.results[0].document_id, UUID)


def test_a_search_sends_its_further_options_and_reads_what_they_bring(server: Server, client: Client) -> None:
    places = {"dense": {"rank": 1, "score": 0.5}}
    answer = {
        "query_id": str(uuid4()), "mode": "hybrid", "query": "x", "total": 1,
        "results": [result("a", explanation=places)], "facets": {"tags": [{"value": "law", "count": 2}]},
        "rerank": "done", "cache": "hit", "explanation": {"terms": ["x"]},
    }  # fmt: skip
    server.answer = replies(Reply(200, answer))
    job_id = uuid4()

    read = client.search(
        "x", facets=["tags"], sort="-title", min_score=0.1, explain=True, rerank=True, wait_for=[job_id]
    )

    sent = server.received[0].json()
    assert (sent["facets"], sent["sort"], sent["min_score"], sent["explain"]) == (
        ["tags"],
        "-title",
        0.1,
        True,
    )
    assert (sent["rerank"], sent["wait_for"], sent["wait_seconds"]) == (True, [str(job_id)], 10)
    assert read.cache == "hit"
    assert read.facets["tags"][0].count == 2
    assert read.results[0].explanation is not None
    assert read.results[0].explanation["dense"].rank == 1


def test_several_searches_have_their_own_outcomes(server: Server, client: Client) -> None:
    answer = {"query_id": str(uuid4()), "mode": "hybrid", "query": "x", "total": 0, "results": []}
    problem = {"type": "/problems/not_found", "title": "Not found", "status": 404, "code": "not_found"}
    server.answer = replies(Reply(200, {"results": [{"answer": answer}, {"error": problem}]}))

    read = client.search_batch([{"query": "x"}, {"query": "y", "limit": 3}])

    assert server.received[0].json() == {"queries": [{"query": "x"}, {"query": "y", "limit": 3}]}
    assert read.results[0].answer is not None
    assert read.results[1].error is not None
    assert read.results[1].error.code == "not_found"


def test_a_file_is_sent_as_multipart_with_its_fields(server: Server, client: Client, tmp_path: Path) -> None:
    server.answer = replies(ACCEPTED)
    file = tmp_path / "naïve.txt"
    file.write_bytes(b"body of the file")

    client.put_file(
        "sub dir/ä?#%.txt", file, collection="law", tags=["a"], metadata={"year": 2024}, title="T"
    )

    request = server.received[0]
    assert (request.method, request.query) == ("PUT", {"collection": "law"})
    assert request.path == "/api/documents/by-external-id/sub dir/ä?#%.txt"
    assert b'name="tags"\r\n\r\n["a"]\r\n' in request.body
    assert b'name="metadata"\r\n\r\n{"year":2024}\r\n' in request.body
    assert b'name="title"\r\n\r\nT\r\n' in request.body
    assert 'name="file"; filename="naïve.txt"'.encode() in request.body
    assert b"body of the file" in request.body


def test_waiting_for_the_outcome_is_asked_for_in_the_query(server: Server, client: Client) -> None:
    server.answer = replies(ACCEPTED)
    client.put_document("x", content="text", wait_seconds=20)
    assert server.received[0].query == {"wait": "searchable", "timeout_seconds": "20"}


def test_the_job_that_answers_who_waits_is_read_as_acceptance(server: Server, client: Client) -> None:
    document_id, job_id = uuid4(), uuid4()
    job = {"id": str(job_id), "document_id": str(document_id), "state": "succeeded", "created_at": NOW}
    server.answer = replies(Reply(200, {**job, "version": 3}))

    accepted = client.put_document("x", content="text", wait_seconds=20)

    assert (accepted.document_id, accepted.job_id, accepted.version) == (document_id, job_id, 3)


@pytest.mark.parametrize(
    ("headers", "revision"),
    [
        ({"ETag": '"7"'}, 7),
        ({"ETag": 'W/"7"'}, 7),
        ({"ETag": '"seven"'}, 0),
        ({"ETag": '"²"'}, 0),
        ({"ETag": f'"{"9" * 5000}"'}, 0),
        ({}, 0),
    ],
)
def test_who_waited_is_told_the_revision_by_the_etag(
    server: Server, client: Client, headers: dict[str, str], revision: int
) -> None:
    job = {"id": str(uuid4()), "document_id": str(uuid4()), "state": "succeeded", "created_at": NOW}
    server.answer = replies(Reply(200, job | {"revision": 4}, headers))

    assert client.put_document("x", content="text", wait_seconds=20).revision == revision


def test_a_transient_refusal_is_tried_again_after_the_time_it_names(server: Server, client: Client) -> None:
    busy = problem(503, "unavailable", "Not now.", retry_after=1)
    server.answer = replies(busy, VERSION)
    started = time.monotonic()

    assert client.version().version == "1.2.3"

    assert time.monotonic() - started >= 1
    assert len(server.received) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_tries_end_and_the_last_problem_is_told(server: Server, client: Client, status: int) -> None:
    server.answer = replies(problem(status, "unavailable", "Not now.", advice="Wait."))
    with pytest.raises(ApiError, match="Not now") as caught:
        client.get_job(uuid4())
    assert (caught.value.status, caught.value.advice) == (status, "Wait.")
    assert len(server.received) == QUICK.attempts


def test_a_key_whose_first_request_is_not_finished_is_sent_again(server: Server, client: Client) -> None:
    unfinished = problem(409, "idempotency_key_in_flight", "It is being worked on.", retry_after=1)
    server.answer = replies(unfinished, ACCEPTED)
    started = time.monotonic()

    assert client.create_document(content="x").version == 1

    assert time.monotonic() - started >= 1
    first, second = (request.headers["idempotency-key"] for request in server.received)
    assert first == second


def test_a_key_that_never_gets_free_is_told_at_last(server: Server, client: Client) -> None:
    server.answer = replies(problem(409, "idempotency_key_in_flight", "Still.", retry_after=0))
    with pytest.raises(ApiError, match="Still"):
        client.create_document(content="x")
    assert len(server.received) == QUICK.attempts


@pytest.mark.parametrize("reply", [problem(409, "conflict", "It is there."), Reply(409, b"<html></html>")])
def test_any_other_conflict_is_told_at_once(server: Server, client: Client, reply: Reply) -> None:
    server.answer = replies(reply)
    with pytest.raises(ApiError):
        client.create_document(content="x", external_id="a")
    assert len(server.received) == 1


def test_a_post_of_a_document_repeats_one_idempotency_key(
    server: Server, client: Client, tmp_path: Path
) -> None:
    server.answer = replies(problem(503, "unavailable", "Not now."), ACCEPTED)
    file = tmp_path / "a.txt"
    file.write_bytes(b"whole body")

    client.create_file(file)

    first, second = server.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert b"whole body" in first.body
    assert b"whole body" in second.body
    server.answer = replies(ACCEPTED)
    client.create_file(file)
    assert server.received[2].headers["idempotency-key"] != first.headers["idempotency-key"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.create_key("k", scopes=["search"]),
        lambda client: client.rotate_key(uuid4()),
        lambda client: client.create_tenant("acme", "Acme"),
        lambda client: client.restore_tenant("acme"),
        lambda client: client.create_collection("law"),
        lambda client: client.put_documents([{"title": "x"}]),
        lambda client: client.reindex(collection="law"),
        lambda client: client.cancel_job(uuid4()),
        lambda client: client.retry_job(uuid4()),
        lambda client: client.cancel_jobs(collection="law"),
        lambda client: client.replay_dead_letters(everything=True),
        lambda client: client.discard_dead_letters(code="x"),
        lambda client: client.repair_index(),
        lambda client: client.put_document("x", content="y", if_match=3),
    ],
)
def test_whatever_changes_something_is_repeated_under_one_idempotency_key(
    server: Server, client: Client, ask: Callable[[Client], object]
) -> None:
    server.answer = replies(problem(503, "unavailable", "Not now."), problem(409, "conflict", "Known."))

    with pytest.raises(ApiError, match="Known"):
        ask(client)
    with pytest.raises(ApiError, match="Known"):
        ask(client)

    first, second, third = (request.headers["idempotency-key"] for request in server.received)
    assert first == second != third


def test_what_cannot_be_repeated_is_sent_once(server: Server, client: Client) -> None:
    server.answer = replies(problem(503, "unavailable", "Not now."))
    with pytest.raises(ApiError):
        client.patch_document(uuid4(), if_match=3, tags=["a"])
    assert len(server.received) == 1


def test_a_problem_becomes_an_error_with_all_it_says(server: Server, client: Client) -> None:
    wrong = [{"field": "limit", "message": "must be at most 100"}]
    server.answer = replies(
        problem(422, "validation_failed", "Not valid.", advice="Correct it.", errors=wrong)
    )
    with pytest.raises(ApiError) as caught:
        client.search("x", limit=1000)
    error = caught.value
    assert (error.status, error.code, error.detail) == (422, "validation_failed", "Not valid.")
    assert (error.advice, error.request_id) == ("Correct it.", "req-1")
    assert [(field.field, field.message) for field in error.errors] == [("limit", "must be at most 100")]


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"", b"\xff\xfe", b"[]", b"{}", b'"x"'])
def test_an_error_that_is_no_problem_document_is_told_by_its_status(
    server: Server, client: Client, body: bytes
) -> None:
    server.answer = replies(Reply(500, body))
    with pytest.raises(ApiError, match="answered with 500 Internal Server Error") as caught:
        client.version()
    assert caught.value.code == "http_500"


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", b'{"version":', b"", b"\xff", b"{}", b'{"version": 3}']
)
def test_a_broken_answer_is_told_and_not_tried_again(server: Server, client: Client, body: bytes) -> None:
    server.answer = replies(Reply(200, body))
    with pytest.raises(UnreadableAnswerError, match="is not readable"):
        client.version()
    assert len(server.received) == 1


def test_a_redirect_is_not_followed_with_the_key(server: Server, client: Client) -> None:
    server.answer = replies(Reply(307, b"", {"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(ApiError, match="307"):
        client.version()
    assert server.paths() == ["/api/version"]


def test_a_refused_connection_ends_in_a_sentence() -> None:
    refused = pytest.raises(UnreachableError, match="Nothing answers at http://127")
    with Client(f"http://127.0.0.1:{closed_port()}", "secret", retry=QUICK) as client, refused as caught:
        client.create_key("k", scopes=["search"])
    assert "quarry up" in caught.value.advice


def test_a_server_that_comes_up_meanwhile_is_found() -> None:
    port = closed_port()
    patient = RetryPolicy(attempts=200, first_delay_seconds=0.02, longest_delay_seconds=0.05)
    answered: list[str] = []

    def ask() -> None:
        with Client(f"http://127.0.0.1:{port}", "secret", retry=patient) as client:
            answered.append(client.version().version)

    asking = threading.Thread(target=ask)
    asking.start()
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(10)
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            body = b'{"version":"9"}'
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            asking.join(timeout=10)
    assert answered == ["9"]


def test_an_answer_that_never_comes_ends_at_the_timeout(server: Server) -> None:
    released = threading.Event()

    def hang(_: Received) -> Reply:
        released.wait(10)
        return VERSION

    server.answer = hang
    once = RetryPolicy(attempts=1)
    late = pytest.raises(UnreachableError, match="it took too long")
    with Client(server.url, "secret", timeout_seconds=0.2, retry=once) as client, late:
        client.version()
    released.set()


def test_a_stopped_client_wakes_what_waits_to_be_sent_again(server: Server) -> None:
    server.answer = replies(problem(503, "unavailable", "Not now.", retry_after=30))
    client = Client(server.url, "secret", retry=RetryPolicy(budget_seconds=100))
    caught: list[ClientError] = []

    def ask() -> None:
        try:
            client.version()
        except ClientError as error:
            caught.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    client.stop_retrying()
    asking.join(timeout=5)
    client.close()
    assert isinstance(caught[0], UnreachableError)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://x:abc", "nonsense"])
def test_a_wrong_url_is_told_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ClientError, match="is no "):
        Client(url, "secret")


@pytest.mark.parametrize("key", ["sécret", "line\nend", "nul\0"])
def test_a_key_that_no_header_can_carry_is_told(key: str) -> None:
    with pytest.raises(ClientError, match="API key holds characters"):
        Client("http://127.0.0.1:1", key)


def test_health_is_read_also_when_the_platform_cannot_serve(server: Server, client: Client) -> None:
    checks = {"database": {"status": "down", "latency_ms": None}}
    server.answer = replies(Reply(503, {"status": "unhealthy", "version": "1", "checks": checks}))
    assert client.health().checks["database"].status == "down"
    assert len(server.received) == 1


def test_deletions_do_not_mind_what_the_body_is(server: Server, client: Client) -> None:
    server.answer = replies(Reply(200, {"document_id": str(uuid4())}))
    client.delete_document(uuid4())
    server.answer = replies(Reply(204, b""))
    client.delete_collection("law/2")
    assert server.paths() == [server.received[0].path, "/api/collections/law/2"]


async def test_the_async_client_does_the_same(server: Server, tmp_path: Path) -> None:
    busy = problem(503, "unavailable", "Not now.", retry_after=0)
    server.answer = replies(busy, ACCEPTED, problem(404, "not_found", "No such job."))
    file = tmp_path / "a.txt"
    file.write_bytes(b"whole body")
    async with AsyncClient(server.url, "secret", retry=QUICK) as client:
        accepted = await client.put_file("a.txt", file)
        assert accepted.version == 1
        with pytest.raises(ApiError, match="No such job"):
            await client.get_job(accepted.job_id)
    assert b"whole body" in server.received[1].body


async def test_the_async_client_tells_a_refused_connection() -> None:
    async with AsyncClient(f"http://127.0.0.1:{closed_port()}", "secret", retry=QUICK) as client:
        with pytest.raises(UnreachableError, match="Nothing answers"):
            await client.list_documents()


def test_documents_are_read_page_by_page(server: Server, client: Client) -> None:
    document = {
        "id": str(uuid4()),
        "collection": "default",
        "title": "T",
        "status": "searchable",
        "created_at": NOW,
        "updated_at": NOW,
    }
    server.answer = replies(Reply(200, {"documents": [document], "next_cursor": "c2"}))
    page = client.list_documents(status="searchable", cursor="c1")
    assert (page.next_cursor, page.documents[0].title) == ("c2", "T")
    assert server.received[0].query == {"status": "searchable", "limit": "50", "cursor": "c1"}
