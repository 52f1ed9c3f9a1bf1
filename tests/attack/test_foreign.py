"""Ids and keys of others, on everything that takes one: routes come from the API's description."""

import json
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from tests.attack.conftest import Attacker, Victim
from tests.attack.judge import faults, fields
from tests.attack.routes import GUARDED, WITH_BODY, Route
from tests.attack.wire import Answer, request
from tests.platform import ALL_SCOPES, Tenant, until

from quarry_common.ids import new_id

each_guarded = pytest.mark.parametrize("route", GUARDED, ids=str)
JSON_TYPE = {"content-type": "application/json"}
USED = re.compile(r',"last_used_at":(null|"[^"]*")')
"""What changes by looking."""
ABSENT = {
    "document_id": str(uuid4()), "job_id": str(new_id()), "key_id": str(new_id()),
    "name": "absent", "external_id": "absent", "slug": "absent", "domain": "absent.example",
    "signing_key_id": str(new_id()), "webhook_id": str(new_id()), "delivery_id": str(new_id()),
    "replay_id": str(new_id()), "set_id": str(new_id()), "user_id": "absent",
}  # fmt: skip


async def ask(attacker: Attacker, route: Route, key: str, target: str = "", **headers: str) -> Answer:
    """Send the route's good request with a key."""
    body = json.dumps(route.example).encode() if route.body else b""
    given = {"x-api-key": key, **(JSON_TYPE if body else {}), **headers}
    return await attacker.host.send(request(route.method, target or route.target(), given, body))


async def everything_of(victim: Victim) -> dict[str, str]:
    """Return what the victim sees of its own things."""
    ids, http = victim.ids, victim.tenant.http
    document, own = ids["document_id"], quote(ids["external_id"])
    addresses = {
        f"/api/documents/{document}", f"/api/documents/{document}/content",
        f"/api/documents/{document}/chunks", f"/api/documents/by-external-id/{own}?collection={ids['name']}",
        f"/api/jobs/{ids['job_id']}", f"/api/jobs/{ids['job_id']}/events", "/api/jobs", "/api/dead-letters",
        f"/api/dead-letters/{victim.dead_job_id}", f"/api/collections/{ids['name']}", "/api/keys",
        "/api/signing-keys", "/api/domains",
        f"/api/judged-sets/{ids['set_id']}", "/api/webhooks", f"/api/webhooks/{ids['webhook_id']}",
        f"/api/webhooks/{ids['webhook_id']}/deliveries?event_type=webhook.test",
    }  # fmt: skip
    answers = {address: await http.get(address) for address in addresses}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {address: USED.sub("", answer.text) for address, answer in answers.items()}


@pytest.fixture
async def untouched(victim: Victim) -> AsyncIterator[None]:
    before = await everything_of(victim)
    yield
    assert await everything_of(victim) == before


@pytest.mark.parametrize("route", [route for route in GUARDED if route.path], ids=str)
@pytest.mark.usefixtures("untouched")
async def test_an_id_of_another_tenant_is_as_one_that_does_not_exist(
    route: Route, attacker: Attacker, victim: Victim
) -> None:
    named = [each["name"] for each in route.path]
    assert set(named) <= set(victim.ids), "give the victim one of these, too"

    foreign = await ask(attacker, route, attacker.own.key, route.target(victim.ids))
    absent = await ask(attacker, route, attacker.own.key, route.target(ABSENT))

    said = foreign.body.decode()
    for name in named:
        said = said.replace(victim.ids[name], "…")
    assert foreign.status == absent.status
    assert not any(value in said for value in victim.ids.values())
    if route.method == "PUT" and "external_id" in named:  # it makes a document of its own
        for ids in (victim.ids, ABSENT):
            assert (await attacker.send("DELETE", route.target(ids), route=route)).status == 200
    else:
        assert not faults(foreign, {403} if route.scope == "platform" else {404})
        same = ("type", "title", "status", "code", "advice", "errors")
        assert [foreign.json[name] for name in same] == [absent.json[name] for name in same]
        detail, expected = foreign.json["detail"], absent.json["detail"]
        for name in named:
            detail = detail.replace(victim.ids[name], "…")
            expected = expected.replace(ABSENT[name], "…")
        assert detail == expected


@each_guarded
@pytest.mark.usefixtures("untouched")
async def test_no_query_parameter_opens_another_tenant(
    route: Route, attacker: Attacker, victim: Victim
) -> None:
    for parameter in route.query:
        for value in (*victim.ids.values(), str(victim.tenant.id)):
            target = route.target(None, **{parameter["name"]: value})

            answer = await ask(attacker, route, attacker.credentials(route)["x-api-key"], target)

            if route.scope != "platform":
                said = answer.body.decode()
                assert not any(other in said for other in victim.ids.values() if other != value)


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
@pytest.mark.usefixtures("untouched")
async def test_no_body_opens_another_tenant(route: Route, attacker: Attacker, victim: Victim) -> None:
    assert route.body is not None
    places = {name: {name: value} for name in route.body["properties"] for value in victim.ids.values()}
    bodies = [(value, {**route.example, name: value}) for name in places for value in victim.ids.values()]
    bodies += [
        (value, {**route.example, member: {field: value}})
        for field, value in fields_with_ids(victim).items()
        for member in ("filters", "filter")
        if member in route.body["properties"]
    ]
    bodies += [
        (value, {**route.example, member: [value]})
        for member, value in {
            "job_ids": victim.dead_job_id,
            "document_ids": victim.ids["document_id"],
        }.items()
        if member in route.body["properties"]
    ]
    for value, body in bodies:
        answer = await attacker.send_json(route, json.dumps(body).encode())

        said = answer.body.decode()
        assert answer.status < 500, said
        if route.scope != "platform":
            assert not any(other in said for other in victim.ids.values() if other not in value), body


def fields_with_ids(victim: Victim) -> dict[str, str]:
    """Return the fields of a filter that ids of the victim fit into."""
    ids = victim.ids
    return {
        "collection": ids["name"], "document_id": ids["document_id"], "external_id": ids["external_id"],
    }  # fmt: skip


@pytest.mark.usefixtures("untouched")
async def test_a_choice_of_anothers_things_chooses_nothing(tenant: Tenant, victim: Victim) -> None:
    http, ids = tenant.http, victim.ids
    changes = ("/api/jobs/cancel", "/api/dead-letters/replay", "/api/dead-letters/discard")
    jobs = {"job_ids": [ids["job_id"], victim.dead_job_id]}
    for path in changes:
        for body in (jobs, {"document_id": ids["document_id"]}, {"collection": ids["name"]}):
            assert (await http.post(path, json=body)).json() == {"jobs": 0, "more": False}, (path, body)
    for body in ({"document_ids": [ids["document_id"]]}, {"filter": {"document_id": ids["document_id"]}}):
        answer = await http.post("/api/documents/reindex", json=body)
        assert answer.json() == {"jobs": 0, "next_cursor": None}, body
    for path in ("/api/jobs", "/api/dead-letters"):
        assert (await http.get(path, params={"document_id": ids["document_id"]})).json()["jobs"] == []
    for field, value in fields_with_ids(victim).items():
        found = await http.get("/api/documents", params={"filter": json.dumps({field: value})})
        assert found.json()["documents"] == [], field


@pytest.mark.usefixtures("untouched")
async def test_a_batch_puts_nothing_into_another_tenant(tenant: Tenant, victim: Victim) -> None:
    document = {
        "external_id": victim.ids["external_id"],
        "content": "Mine.",
        "collection": victim.ids["name"],
    }
    body = {"documents": [document, {**document, "collection": "default"}], "upsert": True}

    results = (await tenant.http.post("/api/documents/batch", json=body)).json()["results"]

    assert [result["status"] for result in results] == ["rejected", "accepted"]
    assert results[0]["error"]["status"] == 404
    assert results[1]["document_id"] != victim.ids["document_id"]
    await tenant.finished(UUID(results[1]["job_id"]))


async def test_an_operator_sees_the_index_of_the_tenant_that_is_named_only(
    attacker: Attacker, victim: Victim
) -> None:
    for method, path in (("GET", "/api/admin/index"), ("POST", "/api/admin/index/repair")):
        for key in (attacker.own.key, victim.tenant.key):
            headers = {"x-api-key": key}
            assert not faults(await attacker.host.send(request(method, path, headers)), {403})
        unnamed = await attacker.host.send(request(method, path, {"x-api-key": attacker.operator_key}))
        assert not faults(unnamed, {422})
        assert fields(unnamed) == {"X-Tenant"}


async def test_a_search_finds_nothing_of_another_tenant(attacker: Attacker, victim: Victim) -> None:
    filters = [
        None,
        {"collection": victim.ids["name"]},
        {"document_id": victim.ids["document_id"]},
        {"not": {"collection": "default"}},
        {"or": [{"document_id": victim.ids["document_id"]}, {"not": {"doc_type": "nothing"}}]},
    ]
    for mode in ("hybrid", "semantic", "keyword"):
        for chosen in filters:
            body = {"query": f"{victim.secret} of the house", "mode": mode, "filters": chosen, "limit": 100}

            found = (await attacker.own.http.post("/api/search", json=body)).json()

            ids = {result["document_id"] for result in found.get("results", [])}
            assert victim.ids["document_id"] not in ids, body


@each_guarded
async def test_a_tenants_key_cannot_name_another_tenant(
    route: Route, attacker: Attacker, victim: Victim
) -> None:
    for slug in (victim.tenant.slug, "default", "nobody", str(victim.tenant.id)):
        assert not faults(await ask(attacker, route, attacker.own.key, **{"x-tenant": slug}), {403})


async def test_an_idempotency_key_of_another_tenant_gives_nothing_of_it(
    attacker: Attacker, victim: Victim
) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    theirs = await victim.tenant.http.post("/api/documents", json={"title": victim.secret}, headers=key)

    own = await attacker.own.http.post("/api/documents", json={"title": victim.secret}, headers=key)

    assert own.status_code == theirs.status_code == 202
    assert own.json()["document_id"] != theirs.json()["document_id"]
    assert own.json()["job_id"] != theirs.json()["job_id"]


@pytest.fixture(scope="session")
async def refused_keys(attacker: Attacker) -> dict[str, str]:
    """Return keys that nobody may use, by what is wrong with them."""
    client, soon = attacker.own.client, datetime.now(UTC) + timedelta(seconds=1.5)
    expired = await client.create_key("expired", scopes=ALL_SCOPES, expires_at=soon)
    revoked = await client.create_key("revoked", scopes=ALL_SCOPES)
    await client.revoke_key(revoked.api_key.id)
    for key in (expired.key, revoked.key):

        async def refused(key: str = key) -> bool:
            answer = await attacker.host.send(request("GET", "/api/jobs", {"x-api-key": key}))
            return answer.status == 401

        await until(refused, 10, "the key is refused")
    good = attacker.own.key
    return {
        "expired": expired.key,
        "revoked": revoked.key,
        "unknown": good[:-20] + ("a" if good[-20] != "a" else "b") + good[-19:],
        "cut off": good[:-1],
        "longer": good + "a",
        "in capitals": good.upper(),
        "another label": good.replace("_live_", "_test_"),
        "prefix only": good[:12],
        "empty": "",
        "id of a key": str(revoked.api_key.id),
        "any": "*",
        "null": "null",
    }


@each_guarded
async def test_no_route_takes_a_refused_key(
    route: Route, attacker: Attacker, refused_keys: dict[str, str]
) -> None:
    wrong = {
        name: found
        for name, key in refused_keys.items()
        if (found := faults(await ask(attacker, route, key), {401}, secrets=[key] if len(key) > 9 else []))
    }

    assert not wrong


@pytest.fixture(scope="session")
async def narrow_keys(attacker: Attacker) -> dict[str, tuple[str, str]]:
    """Return, by scope, a key with everything but this scope and one with this scope alone."""
    found = {}
    for scope in ALL_SCOPES:
        rest = [other for other in ALL_SCOPES if other != scope]
        without = await attacker.own.client.create_key(f"all but {scope}", scopes=rest)
        alone = await attacker.own.client.create_key(f"only {scope}", scopes=[scope])
        found[scope] = (without.key, alone.key)
    return found


@each_guarded
async def test_a_route_asks_for_its_scope_and_no_other(
    route: Route, attacker: Attacker, narrow_keys: dict[str, tuple[str, str]]
) -> None:
    assert route.scope is not None
    without, alone = narrow_keys.get(route.scope, (attacker.own.key, attacker.operator_key))

    refused = await ask(attacker, route, without)
    let_in = await ask(attacker, route, alone)

    assert not faults(refused, {403})
    assert route.scope in refused.json["detail"]
    assert let_in.status != 401
    # A key that may make keys may still not make one that may more.
    assert let_in.status != 403 or "needs the scope" not in let_in.json["detail"]


async def test_a_key_cannot_make_one_that_may_more(
    attacker: Attacker, narrow_keys: dict[str, tuple[str, str]]
) -> None:
    _, maker = narrow_keys["keys:write"]
    for scopes in (["search"], ["keys:write", "documents:read"], ["platform"], ["keys:write", "platform"]):
        body = json.dumps({"name": "more", "scopes": scopes}).encode()

        answer = await attacker.host.send(
            request("POST", "/api/keys", {"x-api-key": maker, **JSON_TYPE}, body)
        )

        assert not faults(answer, {403, 422})


async def test_no_tenants_key_may_have_the_operators_scope(attacker: Attacker) -> None:
    body = json.dumps({"name": "all", "scopes": ["platform"]}).encode()
    headers = {"x-api-key": attacker.operator_key, "x-tenant": attacker.own.slug, **JSON_TYPE}

    answer = await attacker.host.send(request("POST", "/api/keys", headers, body))

    assert not faults(answer, {403, 422})


async def test_an_operator_who_names_no_tenant_is_asked_for_one(attacker: Attacker) -> None:
    for route in GUARDED:
        if "platform" in {route.scope, route.also}:
            continue

        answer = await ask(attacker, route, attacker.operator_key)

        assert not faults(answer, {422}), route
        assert fields(answer) == {"X-Tenant"}, route


async def test_every_route_with_an_id_is_attacked() -> None:
    assert {each["name"] for route in GUARDED for each in route.path} <= set(ABSENT)
