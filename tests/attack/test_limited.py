"""A key that is bound to one collection, tried on every route with the ids of what lies in another.

The collections are of one tenant: what is kept apart here is kept apart by the gateway alone.
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.attack.conftest import Attacker, Victim
from tests.attack.judge import faults
from tests.attack.routes import GUARDED, Route
from tests.attack.test_foreign import ABSENT, ask, fields_with_ids
from tests.attack.wire import Answer, request

OF_COLLECTIONS = frozenset(
    {"documents:read", "documents:write", "collections:read", "collections:write", "search"}
)
"""Scopes for what lies in collections."""
OF_TENANT = frozenset(
    {
        "keys:read",
        "keys:write",
        "tenant:read",
        "tenant:write",
        "audit:read",
        "events:read",
        "webhooks:read",
        "webhooks:write",
        "analytics:read",
        "analytics:write",
        "platform",
    }
)
"""Scopes for what is the tenant's or the installation's as a whole: no key bound to collections has them."""
BOUNDED = [route for route in GUARDED if route.scope in OF_COLLECTIONS]
OPEN = "open"

each_bounded = pytest.mark.parametrize("route", BOUNDED, ids=str)
Json = dict[str, Any]


def closed_ids(victim: Victim) -> dict[str, str]:
    """Return the ids of what lies in the closed collection."""
    names = ("document_id", "job_id", "name", "external_id")
    return {name: victim.ids[name] for name in names}


@pytest.fixture(scope="module")
async def limited_key(victim: Victim) -> str:
    """A key of the victim's own tenant that may everything in a collection that holds nothing of worth."""
    await victim.tenant.client.create_collection(OPEN)
    await victim.tenant.put("open/1", "A door that stands open.", collection=OPEN)
    body = {"name": "limited", "scopes": sorted(OF_COLLECTIONS), "collections": [OPEN]}
    answer = await victim.tenant.http.post("/api/keys", json=body)
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


async def closed_things(victim: Victim) -> dict[str, str]:
    """Return all that is to be seen of the closed collection by who may see it."""
    ids, http = victim.ids, victim.tenant.http
    document, name = f"/api/documents/{ids['document_id']}", ids["name"]
    addresses = {
        document, f"{document}/content", f"{document}/chunks",
        f"/api/documents/by-external-id/{quote(ids['external_id'])}?collection={name}",
        f"/api/documents?collection={name}", f"/api/collections/{name}",
        f"/api/jobs?collection={name}", f"/api/dead-letters?collection={name}",
        f"/api/dead-letters/{victim.dead_job_id}",
    }  # fmt: skip
    answers = {address: await http.get(address) for address in addresses}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {address: answer.text for address, answer in answers.items()}


@pytest.fixture
async def untouched(victim: Victim, limited_key: str) -> AsyncIterator[None]:
    before = await closed_things(victim)
    yield
    assert await closed_things(victim) == before


def told(answer: Answer, victim: Victim, *sent: str) -> set[str]:
    """Return which ids of the closed collection an answer tells that were not in the request."""
    said = answer.body.decode()
    for each in sent:
        said = said.replace(each, "…")
    return {value for value in (*closed_ids(victim).values(), victim.dead_job_id) if value in said}


def bodies(route: Route, victim: Victim) -> Iterator[Json]:
    """Yield bodies that name what is closed, in each place where the route might look."""
    assert route.body is not None
    members, ids = route.body["properties"], closed_ids(victim)
    for member in members:
        for value in ids.values():
            yield {**route.example, member: value}
    filters: list[Json] = [{field: value} for field, value in fields_with_ids(victim).items()]
    filters += [{"or": [each, {"not": {"external_id": "nothing"}}]} for each in filters]
    by_ids = {
        "job_ids": [ids["job_id"], victim.dead_job_id],
        "document_ids": [ids["document_id"]],
        "wait_for": [ids["job_id"]],
    }
    for member in members:
        if member in {"filter", "filters"}:
            yield from ({**route.example, member: each} for each in filters)
        if member in by_ids:
            yield {**route.example, member: by_ids[member]}
            yield {member: by_ids[member]}
        if member == "queries":
            yield {member: [{"query": victim.secret, "filters": each} for each in filters]}
            yield {member: [{"query": victim.secret, "wait_for": by_ids["wait_for"]}]}
        if member == "documents":
            own = {"external_id": ids["external_id"], "title": "Mine."}
            yield {member: [{**own, "collection": ids["name"]}], "upsert": True}


@pytest.mark.parametrize("route", [route for route in BOUNDED if route.path], ids=str)
@pytest.mark.usefixtures("untouched")
async def test_an_id_in_a_path_is_as_one_that_does_not_exist(
    route: Route, attacker: Attacker, victim: Victim, limited_key: str
) -> None:
    ids, within = closed_ids(victim), own_collection(route)
    foreign = await ask(attacker, route, limited_key, route.target(ids, **within))
    absent = await ask(attacker, route, limited_key, route.target(ABSENT, **within))

    assert foreign.status == absent.status
    assert not told(foreign, victim, *ids.values())
    if route.method == "PUT":  # it makes a document in the collection of the key
        key = {"x-api-key": limited_key}
        for named in (ids, ABSENT):
            made = route.target(named, **within)
            assert (await attacker.host.send(request("DELETE", made, key))).status == 200
    else:
        assert not faults(foreign, {403} if "{name}" in route.template else {404})
        assert foreign.json["code"] == absent.json["code"]


def own_collection(route: Route) -> dict[str, str]:
    """Return the query that names the key's own collection, where a route takes one."""
    return {"collection": OPEN} if "collection" in {each["name"] for each in route.query} else {}


@each_bounded
@pytest.mark.usefixtures("untouched")
async def test_no_query_parameter_opens_it(
    route: Route, attacker: Attacker, victim: Victim, limited_key: str
) -> None:
    ids = closed_ids(victim)
    targets = [(route.target(ids), tuple(ids.values()) if route.path else ())]
    for parameter in route.query:
        values = [*ids.values(), victim.dead_job_id]
        values += [json.dumps({field: value}) for field, value in fields_with_ids(victim).items()]
        for value in values:
            sent = (value, *ids.values()) if route.path or "{" in value else (value,)
            targets.append((route.target(ids, **{parameter["name"]: value}), sent))
    for target, sent in targets:
        answer = await ask(attacker, route, limited_key, target)

        assert answer.status < 500, target
        assert not told(answer, victim, *sent), target
        if "collection=" in target and victim.ids["name"] in target.partition("?")[2]:
            assert answer.status in {403, 404, 422}, target


@pytest.mark.parametrize("route", [route for route in BOUNDED if route.body is not None], ids=str)
@pytest.mark.usefixtures("untouched")
async def test_no_body_opens_it(route: Route, attacker: Attacker, victim: Victim, limited_key: str) -> None:
    for body in bodies(route, victim):
        written = json.dumps(body)
        headers = {"x-api-key": limited_key, "content-type": "application/json"}
        answer = await attacker.send(route.method, route.target(), written.encode(), headers)

        sent = [value for value in (*closed_ids(victim).values(), victim.dead_job_id) if value in written]
        assert answer.status < 500, body
        assert not told(answer, victim, *sent), body
        assert "of the house" not in answer.body.decode(), body  # the text that lies there


@pytest.mark.parametrize("scope", sorted(OF_TENANT))
async def test_it_may_nothing_of_the_whole_tenant(victim: Victim, limited_key: str, scope: str) -> None:
    body = {"name": "limited", "scopes": ["search", scope], "collections": [OPEN]}

    answer = await victim.tenant.http.post("/api/keys", json=body)

    assert answer.status_code in {403, 422}, answer.text


@pytest.mark.parametrize("route", [route for route in GUARDED if route.scope in OF_TENANT], ids=str)
@pytest.mark.usefixtures("untouched")
async def test_routes_of_the_whole_tenant_are_not_for_it(
    route: Route, attacker: Attacker, victim: Victim, limited_key: str
) -> None:
    assert not faults(await ask(attacker, route, limited_key, route.target(victim.ids)), {403})


async def test_what_lies_in_its_own_collection_is_reached(
    attacker: Attacker, victim: Victim, limited_key: str
) -> None:
    """Otherwise the tests above would hold for a key that is refused everywhere."""
    (document,) = (await victim.tenant.client.list_documents(collection=OPEN, limit=1)).documents
    (job, *_) = (await victim.tenant.client.list_jobs(collection=OPEN)).jobs
    own = {"document_id": str(document.id), "job_id": str(job.id), "name": OPEN, "external_id": "open/1"}
    for route in BOUNDED:
        if route.method == "GET" and "dead-letters/{" not in route.template:
            answer = await ask(attacker, route, limited_key, route.target(own, **own_collection(route)))
            assert answer.status == 200, route


def test_every_scope_is_of_collections_or_of_the_tenant() -> None:
    assert {route.scope for route in GUARDED} <= OF_COLLECTIONS | OF_TENANT
