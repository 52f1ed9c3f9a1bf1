"""The commands that steer jobs and documents."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from click.testing import Result
from libs.client.tests.http_server import Received, Reply, Server, problem
from libs.client.tests.platform import NOW

from quarry_client import Client
from quarry_client.cli.failure import Failure
from quarry_client.cli.reindex import MARGIN, follow

Quarry = Callable[..., Result]
ID, OTHER = str(UUID(int=5)), str(uuid4())
JOB = {"id": ID, "document_id": ID, "title": "Lease", "state": "failed", "created_at": NOW, "chunks_done": 3}
ERROR = {"code": "encrypted", "detail": "It asks for a password.", "advice": "Remove it.", "status": 422}
DOCUMENT = {
    "id": ID, "collection": "law", "title": "T", "status": "searchable", "created_at": NOW,
    "updated_at": NOW, "revision": 8,
}  # fmt: skip


def posts(served: Server) -> list[tuple[str, object]]:
    sent = [request for request in served.received if request.method == "POST"]
    return [(request.path, json.loads(request.body) if request.body else None) for request in sent]


def stream(*states: dict[str, object]) -> Reply:
    events = [
        f"event: job\nid: {revision}\ndata: {json.dumps(JOB | state)}\n\n"
        for revision, state in enumerate(states)
    ]
    body = "".join((*events, 'event: end\ndata: {"state": "x"}\n\n'))
    return Reply(200, body.encode(), {"Content-Type": "text/event-stream"})


def test_jobs_are_cancelled_and_tried_again_by_their_ids(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, JOB | {"state": "cancelled"})
    assert quarry("jobs", "cancel", ID, OTHER).stdout.splitlines() == [
        f"Job {ID} is cancelled.", f"Job {OTHER} is cancelled.",
    ]  # fmt: skip
    assert quarry("jobs", "retry", ID).exit_code == 0
    assert [path for path, _ in posts(served)] == [
        f"/api/jobs/{ID}/cancel", f"/api/jobs/{OTHER}/cancel", f"/api/jobs/{ID}/retry",
    ]  # fmt: skip


def test_jobs_are_cancelled_by_what_they_have_in_common_until_none_is_left(
    quarry: Quarry, served: Server
) -> None:
    left = [{"jobs": 1000, "more": True}, {"jobs": 7, "more": False}]
    served.answer = lambda _: Reply(200, left.pop(0))

    told = quarry("jobs", "cancel", "--collection", "law", "--created-after", "2026-01-31")

    assert told.stdout == "Cancelled 1007 jobs.\n"
    body = {"collection": "law", "created_after": "2026-01-31T00:00:00Z"}
    assert posts(served) == [("/api/jobs/cancel", body)] * 2
    keys = {request.headers["idempotency-key"] for request in served.received}
    assert len(keys) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "cancel"), ("jobs", "retry"), ("dead-letters", "replay"), ("dead-letters", "discard"),
        ("dead-letters", "discard", "--all", "--code", "x"), ("dead-letters", "replay", "--all", ID),
        ("reindex",), ("reindex", "--all", "--collection", "law"), ("documents", "patch", ID),
        ("documents", "patch", ID, "--tag", "a", "--no-tags"), ("reindex", "--filter", "{"),
        ("documents", "patch", ID, "--principal", "a", "--for-everybody"),
    ],
)  # fmt: skip
def test_a_choice_of_nothing_or_of_too_much_changes_nothing(
    quarry: Quarry, served: Server, arguments: tuple[str, ...]
) -> None:
    assert quarry(*arguments).exit_code == 2
    assert not served.received


def test_a_list_of_jobs_is_narrowed(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"jobs": []})
    narrowed = (
        "--document",
        ID,
        "--collection",
        "law",
        "--code",
        "x",
        "--created-before",
        "2026-01-31T12:00:00",
    )

    for command in ("jobs", "dead-letters"):
        assert quarry(command, "list", *narrowed).exit_code == 0

    assert [request.query for request in served.received] == [
        {
            "document_id": ID, "collection": "law", "code": "x", "limit": "50",
            "created_before": "2026-01-31T12:00:00+00:00",
        }
    ] * 2  # fmt: skip


def test_a_job_is_shown_with_its_log(quarry: Quarry, served: Server) -> None:
    detail = {"queue_position": 4, "estimated_seconds": 12.4, "log": [{"at": NOW, "message": "begun"}]}
    served.answer = lambda _: Reply(200, JOB | detail | {"error": ERROR})

    for command in ("jobs", "dead-letters"):
        shown = quarry(command, "show", ID).stdout
        for told in ("4 jobs", "12 s", "begun", "It asks for a password.", "Remove it."):
            assert told in shown
    assert served.paths() == [f"/api/jobs/{ID}", f"/api/dead-letters/{ID}"]


def test_a_job_is_watched_until_it_is_over(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: stream({"state": "running"}, {"state": "succeeded", "chunks_done": 9})

    done = quarry("jobs", "watch", ID)
    lines = quarry("jobs", "watch", ID, "--json").stdout.splitlines()

    assert (done.exit_code, done.stdout) == (0, "Lease: succeeded, 9 chunks\n")
    assert [json.loads(line)["state"] for line in lines] == ["running", "succeeded"]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_watched_job_that_does_not_succeed_fails_the_command(
    quarry: Quarry, served: Server, state: str
) -> None:
    served.answer = lambda _: stream({"state": state, "error": ERROR})

    done = quarry("jobs", "watch", ID)

    assert done.exit_code == 1
    assert f"Lease: {state}" in done.stdout
    assert ("It asks for a password." in done.stdout) is (state == "failed")


def test_dead_letters_are_replayed_and_discarded(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"jobs": 2, "more": False})

    assert quarry("dead-letters", "replay", ID, OTHER).stdout == "Queued 2 jobs.\n"
    assert quarry("dead-letters", "replay", "--code", "x").exit_code == 0
    assert quarry("dead-letters", "discard", "--all").stdout == "Discarded 2 dead letters.\n"

    assert posts(served) == [
        ("/api/dead-letters/replay", {"job_ids": [ID, OTHER]}),
        ("/api/dead-letters/replay", {"code": "x"}),
        ("/api/dead-letters/discard", {"all": True}),
    ]


def test_a_document_is_patched(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, DOCUMENT)

    told = quarry(
        "documents", "patch", ID, "--tag", "a", "--tag", "b", "--metadata", "year=2026", "--remove-metadata",
        "draft", "--doc-type", "", "--source-url", "https://x", "--for-everybody", "--if-match", "7",
    )  # fmt: skip
    quarry("documents", "patch", ID, "--no-tags", "--principal", "group:law", "--json")

    assert "at revision 8" in told.stdout
    first, second = served.received
    assert (first.method, first.path, first.headers["if-match"]) == ("PATCH", f"/api/documents/{ID}", '"7"')
    assert first.json() == {
        "tags": ["a", "b"], "metadata": {"year": 2026, "draft": None}, "doc_type": None,
        "source_url": "https://x", "allowed_principals": None,
    }  # fmt: skip
    assert second.json() == {"tags": [], "allowed_principals": ["group:law"]}


def test_a_document_that_was_changed_meanwhile_is_told(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: problem(
        412, "precondition_failed", "It is at revision 9.", advice="Read it again."
    )

    told = quarry("documents", "patch", ID, "--no-tags", "--if-match", "7")

    assert told.exit_code == 1
    assert "It is at revision 9." in told.stderr
    assert "Read it again." in told.stderr


def test_content_and_chunks_of_a_document_are_shown(quarry: Quarry, served: Server) -> None:
    chunk = {"id": ID, "ordinal": 0, "text": "A  passage.", "heading_path": ["One", "Two"], "char_end": 11}

    def answer(request: Received) -> Reply:
        if request.path.endswith("/content"):
            return Reply(200, "Zeile\n次の行".encode(), {"Content-Type": "text/plain; charset=utf-8"})
        return Reply(200, {"document_id": ID, "version": 1, "chunks": [chunk]})

    served.answer = answer

    assert quarry("documents", "content", ID).stdout == "Zeile\n次の行"
    shown = quarry("documents", "chunks", ID).stdout
    assert "A passage." in shown
    assert "0-11" in shown
    assert json.loads(quarry("documents", "chunks", ID, "--json").stdout)["chunks"][0]["ordinal"] == 0


def test_documents_are_filtered_and_sorted(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"documents": []})

    quarry("documents", "list", "--filter", '{"tags": ["a"]}', "--sort", "title", "--status", "cancelled")

    assert served.received[0].query == {
        "status": "cancelled", "filter": '{"tags":["a"]}', "sort": "title", "limit": "50",
    }  # fmt: skip


def test_documents_are_indexed_again_page_by_page(quarry: Quarry, served: Server) -> None:
    pages = [{"jobs": 500, "next_cursor": "c"}, {"jobs": 20, "next_cursor": None}]
    served.answer = lambda _: Reply(202, pages.pop(0))

    told = quarry("reindex", "--collection", "law", "--filter", '{"tags": ["a"]}', "--document-id", ID)

    assert told.stdout == "520 documents will be indexed again.\n"
    body = {"document_ids": [ID], "collection": "law", "filter": {"tags": ["a"]}}
    assert posts(served) == [
        ("/api/documents/reindex", body), ("/api/documents/reindex", body | {"cursor": "c"}),
    ]  # fmt: skip


def test_all_documents_are_those_of_every_collection_and_can_be_waited_for(
    quarry: Quarry, served: Server
) -> None:
    running = [[JOB], []]

    def answer(request: Received) -> Reply:
        if request.path == "/api/collections":
            names = ("default", "law")
            found = [{"id": ID, "name": name, "created_at": NOW} for name in names]
            return Reply(200, {"collections": found, "next_cursor": None})
        if request.path == "/api/jobs":
            jobs = running.pop(0) if request.query.get("state") == "running" and running else []
            return Reply(200, {"jobs": jobs, "next_cursor": None})
        return Reply(202, {"jobs": 1, "next_cursor": None})

    served.answer = answer

    told = quarry("reindex", "--all", "--wait")

    assert told.exit_code == 0
    assert "2 documents will be indexed again." in told.stdout
    assert "All is indexed" in told.stdout
    assert [body for _, body in posts(served)] == [{"collection": "default"}, {"collection": "law"}]
    assert running == []


@pytest.fixture
def following(served: Server) -> Iterator[Callable[..., float]]:
    """Follow the jobs of the collection `law`, with a clock of its own; return when it ended."""
    now = 0.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    with Client(served.url, "secret") as client:

        def run(stall_seconds: float) -> float:
            follow(client, "law", 1, stall_seconds, clock=lambda: now, sleep=pause)
            return now

        yield run


def listing(*looks: list[dict[str, object]]) -> Callable[[Received], Reply]:
    """Answer lists of jobs, one after the other and the last one for ever; the next one after `running`."""
    left = list(looks)

    def answer(request: Received) -> Reply:
        state = request.query.get("state")
        jobs = [job for job in left[0] if state in {None, job["state"]}]
        if state == "running" and len(left) > 1:
            left.pop(0)
        return Reply(200, {"jobs": jobs, "next_cursor": None})

    return answer


def test_jobs_that_do_not_move_are_not_waited_for_for_ever(
    following: Callable[..., float], served: Server
) -> None:
    served.answer = listing([JOB | {"state": "running"}, JOB | {"id": OTHER, "state": "queued"}])

    with pytest.raises(Failure, match="2 jobs have not ended, and none has moved for 30 s") as caught:
        following(30)

    assert "quarry jobs cancel" in caught.value.advice
    assert len(served.received) <= 2 * 33 + 1


def test_jobs_are_waited_for_as_long_as_any_moves(following: Callable[..., float], served: Server) -> None:
    moving = [JOB | {"state": "running", "chunks_done": number // 20} for number in range(100)]
    still = JOB | {"id": OTHER, "state": "queued"}
    served.answer = listing(*([job, still] for job in moving), [])

    assert following(30) == 100


def test_jobs_that_are_made_later_are_not_waited_for(following: Callable[..., float], served: Server) -> None:
    served.answer = listing([JOB | {"state": "running"}], [])

    following(30)

    first, *looks = [request.query for request in served.received]
    assert first == {"collection": "law", "limit": "1"}
    made_before = (datetime.fromisoformat(NOW) + MARGIN).isoformat()
    assert [look["created_before"] for look in looks] == [made_before] * 4
    assert {look["collection"] for look in looks} == {"law"}


def test_more_jobs_than_are_counted_are_told_as_so_many(
    following: Callable[..., float], served: Server
) -> None:
    def answer(request: Received) -> Reply:
        start, limit = int(request.query.get("cursor", "0")), int(request.query["limit"])
        if request.query.get("state") == "running":
            return Reply(200, {"jobs": []})
        jobs = [JOB | {"id": str(UUID(int=start + number + 1)), "state": "queued"} for number in range(limit)]
        return Reply(200, {"jobs": jobs, "next_cursor": str(start + limit)})

    served.answer = answer

    with pytest.raises(Failure, match="At least 1000 jobs have not ended"):
        following(1)


def test_a_stalled_reindex_fails_the_command(quarry: Quarry, served: Server) -> None:
    jobs = listing([JOB | {"state": "running"}])
    served.answer = lambda request: (
        jobs(request) if request.path == "/api/jobs" else Reply(202, {"jobs": 1, "next_cursor": None})
    )

    told = quarry("reindex", "--collection", "law", "--wait", "--stall-timeout", "1")

    assert told.exit_code == 1
    assert "none has moved for 1 s" in told.stderr
    assert "All is indexed" not in told.stdout


@pytest.mark.parametrize(
    ("arguments", "report", "code", "told"),
    [
        ((), {"missing": 0}, 0, "in step"),
        ((), {"missing": 3}, 1, "--repair"),
        ((), {"hidden": 1, "damaged_documents": 1}, 1, "--repair"),
        (("--repair",), {"surplus": 2, "repaired": True}, 0, "mended"),
    ],
)
def test_drift_is_told_and_mended(
    quarry: Quarry,
    served: Server,
    arguments: tuple[str, ...],
    report: dict[str, object],
    code: int,
    told: str,
) -> None:
    names = ("documents", "chunks", "points", "missing", "surplus", "hidden", "damaged_documents")
    served.answer = lambda _: Reply(200, dict.fromkeys(names, 0) | report)

    done = quarry("drift", "--tenant", "acme", *arguments)

    assert done.exit_code == code
    assert told in done.stdout
    (request,) = served.received
    assert request.headers["x-tenant"] == "acme"
    assert (request.method, request.path) == (
        ("POST", "/api/admin/index/repair") if arguments else ("GET", "/api/admin/index")
    )
    assert json.loads(quarry("drift", *arguments, "--json").stdout)["documents"] == 0
