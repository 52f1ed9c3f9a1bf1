"""What each operation sends."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from libs.client.tests.http_server import Reply, running_server
from libs.client.tests.platform import NOW

from quarry_client import Client, calls
from quarry_client.calls import Call

ID = UUID(int=5)
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
DOCUMENT = {
    "id": str(ID), "collection": "law", "title": "T", "status": "searchable", "created_at": NOW,
    "updated_at": NOW, "revision": 8,
}  # fmt: skip
JOB = {"id": str(ID), "document_id": str(ID), "state": "queued", "created_at": NOW, "revision": 2}
ACCEPTED = {"document_id": str(ID), "job_id": str(ID), "version": 1, "revision": 3}
CHANGED = {"jobs": 3, "more": True}
REPORT = dict.fromkeys(
    ("documents", "chunks", "points", "missing", "surplus", "hidden", "damaged_documents"), 1
)
COUNTS = {"name": "*", "hits": 1, "misses": 0, "memory": {"hits": 1, "misses": 0}}
CACHES = {"answered": 0, "instances": [], "caches": [], "total": COUNTS}
PURGED = {"answered": 1, "memory_entries": 2, "redis_entries": 3, "complete": True}
OWN = "/api/documents/by-external-id/a/b"


@pytest.mark.parametrize(
    ("ask", "sent", "query", "body", "answer"),
    [
        (
            lambda c: c.find_document("a/b", collection="law").revision,
            f"GET {OWN}",
            {"collection": "law"},
            None,
            DOCUMENT,
        ),
        (lambda c: c.delete_found_document("a/b"), f"DELETE {OWN}", {}, None, {}),
        (
            lambda c: c.list_documents(filters={"tags": ["a"]}, sort="-title", limit=3).documents,
            "GET /api/documents",
            {"filter": '{"tags":["a"]}', "sort": "-title", "limit": "3"},
            None,
            {"documents": [DOCUMENT]},
        ),
        (
            lambda c: c.patch_document(ID, tags=["a"], doc_type=None, metadata={"x": None}).revision,
            f"PATCH /api/documents/{ID}",
            {},
            {"tags": ["a"], "doc_type": None, "metadata": {"x": None}},
            DOCUMENT,
        ),
        (
            lambda c: c.list_chunks(ID, limit=2, cursor="c").chunks[0].text,
            f"GET /api/documents/{ID}/chunks",
            {"limit": "2", "cursor": "c"},
            None,
            {"document_id": str(ID), "version": 1, "chunks": [{"id": str(ID), "ordinal": 0, "text": "t"}]},
        ),
        (
            lambda c: c.reindex(document_ids=[ID], filters={"doc_type": "pdf"}, cursor="c").next_cursor,
            "POST /api/documents/reindex",
            {},
            {"document_ids": [str(ID)], "filter": {"doc_type": "pdf"}, "cursor": "c"},
            {"jobs": 1, "next_cursor": "d"},
        ),
        (
            lambda c: c.put_documents([{"title": "x", "content": "y"}], upsert=False).results[0].error.code,
            "POST /api/documents/batch",
            {},
            {"documents": [{"title": "x", "content": "y"}], "upsert": False, "priority": "bulk"},
            {
                "accepted": 0, "unchanged": 0, "rejected": 1,
                "results": [{"index": 0, "status": "rejected", "error": {"code": "conflict", "status": 409}}],
            },
        ),
        (
            lambda c: c.list_jobs(state="failed", code="x", created_after=MOMENT).jobs,
            "GET /api/jobs",
            {"state": "failed", "code": "x", "created_after": MOMENT.isoformat(), "limit": "50"},
            None,
            {"jobs": [JOB]},
        ),
        (
            lambda c: (c.get_job(ID).queue_position, c.get_job(ID).log[0].message),
            f"GET /api/jobs/{ID}",
            {},
            None,
            JOB | {"queue_position": 3, "log": [{"at": NOW, "attempt": 1, "message": "begun"}]},
        ),
        (lambda c: c.cancel_job(ID).state, f"POST /api/jobs/{ID}/cancel", {}, None, JOB),
        (lambda c: c.retry_job(ID).state, f"POST /api/jobs/{ID}/retry", {}, None, JOB),
        (
            lambda c: c.cancel_jobs(job_ids=[ID], created_before=MOMENT).more,
            "POST /api/jobs/cancel",
            {},
            {"job_ids": [str(ID)], "created_before": "2026-01-31T12:00:00Z"},
            CHANGED,
        ),
        (
            lambda c: c.list_dead_letters(document_id=ID).jobs,
            "GET /api/dead-letters",
            {"document_id": str(ID), "limit": "50"},
            None,
            {"jobs": [JOB]},
        ),
        (lambda c: c.get_dead_letter(ID).state, f"GET /api/dead-letters/{ID}", {}, None, JOB),
        (
            lambda c: c.replay_dead_letters(everything=True).jobs,
            "POST /api/dead-letters/replay",
            {},
            {"all": True},
            CHANGED,
        ),
        (
            lambda c: c.discard_dead_letters(collection="law").jobs,
            "POST /api/dead-letters/discard",
            {},
            {"collection": "law"},
            CHANGED,
        ),
        (lambda c: c.inspect_index().missing, "GET /api/admin/index", {}, None, REPORT),
        (lambda c: c.cache_stats().total.name, "GET /api/admin/cache", {}, None, CACHES),
        (lambda c: c.purge_cache().complete, "DELETE /api/admin/cache", {}, None, PURGED),
        (lambda c: c.purge_cache("acme").tenant, "DELETE /api/admin/cache", {"tenant": "acme"}, None, PURGED),
        (lambda c: c.repair_index().repaired, "POST /api/admin/index/repair", {}, None, REPORT),
        (
            lambda c: c.replay_events("indexer", since=MOMENT, until=MOMENT, tenant="acme").events,
            "POST /api/admin/events/replay",
            {},
            {
                "service": "indexer",
                "since": "2026-01-31T12:00:00Z",
                "until": "2026-01-31T12:00:00Z",
                "tenant": "acme",
            },
            {"events": 7},
        ),
    ],
)  # fmt: skip
def test_an_operation_sends_what_it_was_asked_for(
    ask: Callable[[Client], object], sent: str, query: dict[str, str], body: object, answer: Any
) -> None:
    with running_server(lambda _: Reply(200, answer)) as server, Client(server.url, "secret") as client:
        ask(client)
        request = server.received[0]

    assert f"{request.method} {request.path}" == sent
    assert request.query == query
    assert (json.loads(request.body) if request.body else None) == body


def test_conditions_travel_as_headers() -> None:
    with running_server(lambda _: Reply(200, ACCEPTED)) as server, Client(server.url, "secret") as client:
        assert client.put_document("a", content="x", if_match=7, priority="bulk").revision == 3
        client.put_document("a", content="x", only_create=True)
        client.put_document("a", content="x")
        client.delete_document(ID, if_match=7)
        matched, created, free, deleted = server.received

    assert (matched.headers["if-match"], matched.query) == ('"7"', {"priority": "bulk"})
    assert created.headers["if-none-match"] == "*"
    assert not {"if-match", "if-none-match", "idempotency-key"} & set(free.headers)
    assert deleted.headers["if-match"] == '"7"'


def test_a_batch_tells_the_revision_of_each_document() -> None:
    results = [
        {"index": 0, "status": "accepted"} | ACCEPTED,
        {"index": 1, "status": "rejected", "error": {"code": "conflict", "status": 409}},
    ]
    report = Reply(202, {"accepted": 1, "unchanged": 0, "rejected": 1, "results": results})
    with running_server(lambda _: report) as server, Client(server.url, "secret") as client:
        told = client.put_documents([{"content": "x"}, {"content": "y"}]).results

    assert [each.revision for each in told] == [3, None]


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        (calls.put_documents([{"content": "x"}]), 10),
        (calls.put_documents([{"content": "x"}] * 100), 10),
        (calls.put_documents([{"content": "x"}] * 101), 20),
        (calls.put_documents([{"content": "x"}] * 1000), 100),
        (calls.search("x"), 0),
        (calls.search("x", wait_for=[ID], wait_seconds=50), 50),
        (calls.search_batch([{"query": "x"}, {"query": "y", "wait_seconds": 50}]), 30),
        (calls.search_batch([{"query": "x", "wait_for": [str(ID)]}]), 40),
        (calls.search_batch([{"query": "x", "wait_for": [ID], "wait_seconds": 3}]), 33),
        (calls.search_batch([{"query": "x", "wait_for": [ID]}, {"query": "y", "wait_seconds": 50}]), 80),
        (calls.search_batch([{"query": "x", "wait_for": [ID], "wait_seconds": "long"}]), 30),
    ],
)
def test_an_answer_that_takes_longer_has_longer(call: Call[object], seconds: float) -> None:
    assert call.extra_seconds == seconds


def test_content_is_text_as_it_came() -> None:
    text = "Zeile\r\n次の行\u2028"
    reply = Reply(200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
    with running_server(lambda _: reply) as server, Client(server.url, "secret") as client:
        assert client.get_content(ID) == text


def test_both_clients_have_every_operation() -> None:
    from quarry_client import AsyncClient  # noqa: PLC0415 - named here alone

    data = {"Call", "FileUpload", "media_type_of"}
    for name in set(calls.__all__) - data:
        assert hasattr(Client, name), name
        assert hasattr(AsyncClient, name), name
