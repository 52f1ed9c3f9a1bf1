"""Publishing events once more, for the operator."""

from datetime import UTC, datetime

import httpx
import pytest

from quarry_common.contracts.replaying import ReplayEvents

from .backend import Backend

RANGE = {"since": "2027-01-31T09:00:00Z", "until": "2027-01-31T10:00:00Z"}
WANTED = {"service": "indexer", **RANGE}


def asked_of(backend: Backend) -> list[ReplayEvents]:
    return [each for each in backend.asked if isinstance(each, ReplayEvents)]


@pytest.fixture
def operator(http: httpx.AsyncClient, backend: Backend) -> httpx.AsyncClient:
    http.headers["X-API-Key"] = backend.key(operator=True)
    return http


async def test_the_range_reaches_the_service_and_its_answer_the_operator(
    operator: httpx.AsyncClient, backend: Backend
) -> None:
    answer = await operator.post("/api/admin/events/replay", json=WANTED, headers={"Idempotency-Key": "once"})

    assert (answer.status_code, answer.json()) == (200, {"events": 7})
    (request,) = asked_of(backend)
    assert request == ReplayEvents(
        datetime(2027, 1, 31, 9, tzinfo=UTC), datetime(2027, 1, 31, 10, tzinfo=UTC), None, "once"
    )
    (act,) = [act for act in backend.acts if act.action == "events.replayed"]
    assert act.target == "*"
    assert act.after is not None
    assert act.after["events"] == 7


async def test_a_tenant_is_named_in_the_body_or_the_header(
    operator: httpx.AsyncClient, backend: Backend
) -> None:
    path = "/api/admin/events/replay"

    in_body = await operator.post(path, json=WANTED | {"tenant": "acme"})
    in_header = await operator.post(path, json=WANTED, headers={"X-Tenant": "acme"})
    nobody = await operator.post(path, json=WANTED | {"tenant": "nobody"})

    assert (in_body.status_code, in_header.status_code, nobody.status_code) == (200, 200, 404)
    one, other = asked_of(backend)
    assert one.tenant_id == other.tenant_id
    assert one.tenant_id is not None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"until": "2027-01-31T09:00:00Z"}, "until"),
        ({"until": "2027-02-03T09:00:01Z"}, "until"),
        ({"since": "2027-01-31T09:00:00"}, "since"),
        ({"service": "search"}, "service"),
        ({"more": 1}, "more"),
    ],
)
async def test_a_range_that_is_none_is_refused(
    operator: httpx.AsyncClient, backend: Backend, changes: dict[str, object], field: str
) -> None:
    answer = await operator.post("/api/admin/events/replay", json=WANTED | changes)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not asked_of(backend)


async def test_it_is_the_operators(client: httpx.AsyncClient, backend: Backend) -> None:
    answer = await client.post("/api/admin/events/replay", json=WANTED)

    assert answer.status_code == 403
    assert not asked_of(backend)
