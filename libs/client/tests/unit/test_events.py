"""`quarry events`."""

import json

import pytest
from libs.client.tests.conftest import Quarry
from libs.client.tests.http_server import Reply, Server

SINCE = ("--since", "2027-01-31T09:00:00")


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_a_replay_names_a_range_and_tells_how_much_it_is(
    quarry: Quarry, served: Server, tenant: str | None
) -> None:
    served.answer = lambda _: Reply(200, {"events": 7})
    whose = ("--tenant", tenant) if tenant else ()

    done = quarry(
        "events", "replay", "--service", "indexer", *SINCE, "--until", "2027-01-31T10:00:00", *whose
    )

    assert done.exit_code == 0
    assert "7 events" in done.stdout
    (request,) = served.received
    assert (request.method, request.path) == ("POST", "/api/admin/events/replay")
    assert request.headers.get("x-tenant") == tenant
    assert json.loads(request.body) == {
        "service": "indexer", "since": "2027-01-31T09:00:00Z", "until": "2027-01-31T10:00:00Z"
    }  # fmt: skip


def test_a_replay_goes_on_until_now_unless_told_otherwise(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"events": 0})

    done = quarry("events", "replay", "--service", "tenants", *SINCE, "--json")

    assert json.loads(done.stdout) == {"events": 0}
    assert json.loads(served.received[0].body)["until"].endswith("Z")


@pytest.mark.parametrize("given", [("--service", "search", *SINCE), ("--service", "indexer"), SINCE])
def test_a_replay_without_a_service_that_has_events_or_a_beginning_is_refused(
    quarry: Quarry, served: Server, given: tuple[str, ...]
) -> None:
    assert quarry("events", "replay", *given).exit_code == 2
    assert not served.received


EVENT = {
    "id": "01931c2e-7b2c-7e41-a3f5-8c9d0b6e1a52",
    "type": "document.indexed",
    "source": "/quarry/indexer",
    "subject": "x",
    "time": "2027-01-31T09:30:00Z",
    "tenantid": "t",
    "data": {"document_id": "x", "title": "A \x1b[2J guide", "version": 3, "external_id": None},
}
TOLD = f"id: place\ndata: {json.dumps(EVENT)}\n\n"
GONE = 'event: missed\ndata: {"detail":"Some are gone."}\n\n'
OVER = 'event: error\ndata: {"status":401,"code":"unauthenticated","detail":"The key is revoked."}\n\n'


def streamed(*parts: str) -> Reply:
    return Reply(200, "".join(parts).encode(), {"Content-Type": "text/event-stream"})


def test_what_happens_is_printed_line_by_line_until_the_key_is_refused(
    quarry: Quarry, served: Server
) -> None:
    served.answer = lambda _: streamed(GONE, TOLD, OVER)

    done = quarry("events", "follow", "document.*", "job.*", "--since", "2027-01-31T09:00:00", "--after", "p")

    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith('2027-01-31 09:30:00 document.indexed document_id=x title="A')
    assert line.endswith("version=3")
    assert "\x1b" not in line
    assert "Events may be missing here: Some are gone." in done.stderr
    assert "The key is revoked." in done.stderr
    (request,) = served.received
    assert request.path == "/api/events/stream"
    assert request.query["event_types"] == "document.*,job.*"
    assert request.query["since"].startswith("2027-01-31T09:00:00")
    assert request.headers["last-event-id"] == "p"


def test_for_machines_each_event_is_a_line_of_json_with_its_place(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: streamed(TOLD, OVER)

    done = quarry("events", "follow", "--everywhere", "--json")

    (line,) = done.stdout.splitlines()
    assert json.loads(line)["place"] == "place"
    assert json.loads(line)["data"] == EVENT["data"]
    assert served.received[0].path == "/api/admin/events/stream"
