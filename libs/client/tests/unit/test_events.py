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
