"""Paths, methods, query parameters and cursors that no route may accept."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import urlencode
from uuid import UUID

import pytest
from tests.attack.addresses import NOT_ALLOWED, PATHS
from tests.attack.conftest import Attacker, Victim, damaged
from tests.attack.judge import faults, fields
from tests.attack.routes import DESCRIPTION, ROUTES, Json, Route, fits

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO", "get", "A" * 5000)
TEXTS = (
    "", " ", "null", "-1", "0", "101", "1e400", "1" + "0" * 400, "NaN", "1.5", "0x10", "\u0661", "true", "[]",
    "../..", "a" * 3000, "a\nb", "'--", "\U0001f600", "a\0b",
)  # fmt: skip
LISTS = [route for route in ROUTES if any(each["name"] == "cursor" for each in route.query)]
with_query = pytest.mark.parametrize("route", [route for route in ROUTES if route.query], ids=str)


@pytest.mark.parametrize(("path", "statuses"), PATHS.values(), ids=PATHS)
async def test_no_path_leads_where_it_should_not(
    path: str, statuses: frozenset[int], attacker: Attacker
) -> None:
    assert not faults(await attacker.send("GET", path), statuses)


@pytest.mark.parametrize("path", [path for path in DESCRIPTION["paths"] if "{" not in path])
async def test_no_path_answers_another_method(path: str, attacker: Attacker) -> None:
    allowed = {method.upper() for method in DESCRIPTION["paths"][path]}
    for method in METHODS:
        if method in allowed:
            continue

        answer = await attacker.send(method, path)

        assert not faults(answer, NOT_ALLOWED), method[:20]
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed | {"OPTIONS"}


def wrong_texts(parameter: Json) -> Iterator[str]:
    """Yield texts that a query parameter may not be."""
    types = {each.get("type") for each in parameter["schema"].get("anyOf", [parameter["schema"]])}
    kind = int if "integer" in types else float if "number" in types else str
    for text in TEXTS:
        try:
            value = kind(text) if text.isascii() else text
        except ValueError:
            value = text
        if "\0" in text or not fits(value, parameter["schema"]):
            yield text


@with_query
async def test_a_query_parameter_out_of_its_kind_is_named(route: Route, attacker: Attacker) -> None:
    wrong = {}
    for parameter in route.query:
        name = parameter["name"]
        for text in wrong_texts(parameter):
            answer = await attacker.send(route.method, route.target(None, **{name: text}), route=route)
            found = faults(answer, {422})
            if found or fields(answer) != {name}:
                wrong[name, text[:20]] = found or str(fields(answer))

    assert not wrong


@with_query
async def test_a_repeated_or_unknown_query_parameter_is_named(route: Route, attacker: Attacker) -> None:
    names = [each["name"] for each in route.query]
    repeated = "&".join(f"{name}=1&{name}=2" for name in names)

    twice = await attacker.send(route.method, f"{route.target()}?{repeated}", route=route)
    unknown = await attacker.send(route.method, f"{route.target()}?nobody_knows=1", route=route)
    many = await attacker.send(
        route.method, f"{route.target()}?" + "&".join(f"a{i}=1" for i in range(1000)), route=route
    )

    assert not faults(twice, {422})
    assert fields(twice) == set(names)
    assert not faults(unknown, {422})
    assert fields(unknown) == {"nobody_knows"}
    assert not faults(many, {400, 422})


def encoded(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


FORGED = (
    "x", "====", "a b", "ä", "%", encoded(""), encoded("a\0b"), encoded(b"\xff\xfe"), encoded("-1"),
    encoded("0' OR '1'='1"), encoded("collections:a\0b"), encoded("documents:a"), encoded("jobs:"),
    encoded("keys:00000000"), encoded('{"offset": -1}'), encoded(b"\x93\xc4\x00\x00\x00"), "A" * 999,
)  # fmt: skip


LONG = "\n\n".join(f"# Heron {i}\n\n" + "A heron stands by the pond and waits. " * 40 for i in range(4))
"""More than one chunk."""


@pytest.fixture(scope="session")
async def own_ids(attacker: Attacker) -> dict[str, str]:
    """Return ids of the attacker's own, for lists that belong to one thing."""
    job = await attacker.own.put("herons", LONG, doc_type="markdown")
    hooks = [await attacker.own.client.create_webhook(f"https://{i}.example/", enabled=False) for i in "ab"]
    for _ in hooks:
        await attacker.own.client.send_webhook_test(hooks[0].endpoint.id)
    return {
        "document_id": str(job.document_id),
        "job_id": str(job.id),
        "webhook_id": str(hooks[0].endpoint.id),
    }


@pytest.fixture(scope="session")
async def cursors(attacker: Attacker, own_ids: dict[str, str]) -> dict[str, str]:
    """Return a good cursor of every list, by route."""
    for i in range(2):
        await attacker.own.put(f"heron-{i}", f"Heron number {i}.")
        await attacker.own.client.create_collection(f"herons-{i}")
        await attacker.own.client.create_key(f"heron-{i}", scopes=["search"])
        await damaged(attacker.own, f"heron-{i}")
    found = {}
    for route in LISTS:
        answer = await attacker.send(route.method, route.target(own_ids, limit="1"), route=route)
        found[str(route)] = answer.json["next_cursor"]
        assert found[str(route)], route
    return found


@pytest.mark.parametrize("route", LISTS, ids=str)
async def test_a_list_refuses_cursors_that_it_did_not_make(
    route: Route, attacker: Attacker, cursors: dict[str, str], own_ids: dict[str, str]
) -> None:
    own = cursors[str(route)]
    others = [cursor for of, cursor in cursors.items() if of != str(route)]
    tampered = [own[:-1], own[1:], own + own, own.swapcase()]
    wrong = {}
    for cursor in (*FORGED, *others, *tampered):
        answer = await attacker.send(route.method, route.target(own_ids, cursor=cursor), route=route)
        found = faults(answer, {422})
        if found or fields(answer) != {"cursor"}:
            wrong[cursor[:40]] = found or str(fields(answer))

    assert not wrong


async def test_a_cursor_of_a_sorted_list_belongs_to_its_order(
    attacker: Attacker, cursors: dict[str, str]
) -> None:
    sorts = ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]
    made = {}
    for sort in sorts:
        answer = await attacker.send("GET", f"/api/documents?limit=1&sort={sort}")
        made[sort] = answer.json["next_cursor"]
        assert made[sort], sort
    for sort in sorts:
        for other in sorts:
            if sort.lstrip("-") != other.lstrip("-"):
                target = f"/api/documents?sort={sort}&cursor={made[other]}"
                answer = await attacker.send("GET", target)
                assert not faults(answer, {422}), (sort, other)
                assert fields(answer) == {"cursor"}


@pytest.mark.parametrize("route", [route for route in LISTS if route.scope != "platform"], ids=str)
async def test_another_tenants_cursor_shows_nothing_of_it(
    route: Route, attacker: Attacker, victim: Victim, own_ids: dict[str, str]
) -> None:
    await victim.tenant.put("second", f"{victim.secret} {LONG}", collection=victim.secret)
    await damaged(victim.tenant, f"another {victim.secret}")
    documents = (await victim.tenant.http.get("/api/documents?limit=1&status=searchable")).json()["documents"]
    hook = UUID(victim.ids["webhook_id"])
    await victim.tenant.client.create_webhook(f"https://{victim.secret}.example/2", enabled=False)
    await victim.tenant.client.send_webhook_test(hook)
    named = {"document_id": documents[0]["id"], "webhook_id": str(hook)}
    theirs = await victim.tenant.http.get(route.target(named, limit="1"))
    cursor = theirs.json()["next_cursor"]
    assert cursor

    answer = await attacker.send(route.method, route.target(own_ids, cursor=cursor), route=route)

    assert answer.status in {200, 422}
    assert victim.secret not in answer.body.decode()
    assert not any(value in answer.body.decode() for value in victim.ids.values())


FILTERS = (
    "{", "[]", "null", "1", '"a"', '{"nobody_knows":1}', '{"tenant_id":"a"}', '{"or":[]}',
    '{"doc_type":null}',
    '{"doc_type":"a\\u0000b"}', '{"metadata":{"a":{"$where":"1"}}}', '{"document_id":"1"}', "{'a':1}",
    '{"created_at":{"gte":"yesterday"}}', '{"not":' * 500 + "{}" + "}" * 500, '{"metadata":{"a":1e400}}',
)  # fmt: skip


@pytest.mark.parametrize("text", FILTERS)
async def test_no_list_accepts_a_filter(text: str, attacker: Attacker) -> None:
    answer = await attacker.send("GET", f"/api/documents?{urlencode({'filter': text})}")

    assert not faults(answer, {422})
    assert {field.split(".")[0] for field in fields(answer)} == {"filter"}


CONDITIONS = (
    "7", '"7', "7,8", "", '"7" "8"', "*, *", "null", "\u00fc", '"\u00fc"', '"7"' + ', "7"' * 200, "a" * 8000,
)  # fmt: skip


@pytest.mark.parametrize("value", CONDITIONS)
async def test_no_change_is_made_under_a_condition_that_is_none(value: str, attacker: Attacker) -> None:
    wrong = {}
    for route in ROUTES:
        if any(each["name"] == "If-Match" for each in route.parameters):
            body = json.dumps(route.example).encode() if route.body else b""
            headers = {"if-match": value.encode(), **({"content-type": "application/json"} if body else {})}
            answer = await attacker.send(route.method, route.target(), body, headers, route=route)
            found = faults(answer, {422})
            if found or fields(answer) != {"If-Match"}:
                wrong[str(route)] = found or str(fields(answer))

    assert not wrong


SEARCHES: dict[str, Json] = {
    "cursor forged": {"cursor": "x"},
    "cursor of another list": {"cursor": encoded("documents:00000000-0000-0000-0000-000000000001")},
    "cursor not ASCII": {"cursor": "ä"},
    "cursor with NUL": {"cursor": "a\0"},
    "filter unknown": {"filters": {"nobody_knows": 1}},
    "filter on the tenant": {"filters": {"tenant_id": "00000000-0000-0000-0000-000000000000"}},
    "filter with a tree's inside": {"filters": {"type": "and", "filters": []}},
    "filter deep": {"filters": json.loads('{"not":' * 100 + '{"doc_type": "a"}' + "}" * 100)},
    "filter with empty or": {"filters": {"or": []}},
    "filter and of no list": {"filters": {"and": {"doc_type": "a"}}},
    "filter wide": {"filters": {"or": [{"doc_type": str(i)} for i in range(5000)]}},
    "filter with many values": {"filters": {"doc_type": [str(i) for i in range(5000)]}},
    "filter with mixed bounds": {"filters": {"metadata": {"a": {"gte": 1, "lt": "2026-01-01T00:00:00Z"}}}},
    "filter with unknown operator": {"filters": {"metadata": {"a": {"$where": "1"}}}},
    "filter with 10^400": {"filters": {"metadata": {"a": 10**400}}},
    "filter with 2^63": {"filters": {"metadata": {"a": {"gt": 2**63}}}},
    "filter with NUL": {"filters": {"doc_type": "a\0b"}},
    "filter with lists in lists": {"filters": {"doc_type": [["a"]]}},
    "filter with null": {"filters": {"doc_type": None}},
    "filter of a wrong id": {"filters": {"document_id": "1"}},
    "filter of a wrong time": {"filters": {"created_at": {"gte": "yesterday"}}},
    "filter of a time before years": {"filters": {"created_at": {"gte": "-0001-01-01T00:00:00Z"}}},
    "filter metadata path": {"filters": {"metadata": {"a": {"b": {"c": 1}}}}},
    "filter of tags by range": {"filters": {"tags": {"gte": 1}}},
    "mode unknown": {"mode": "telepathy"},
    "limit of none": {"limit": 0},
    "limit over all": {"limit": 101},
    "limit in words": {"limit": "ten"},
    "query empty": {"query": ""},
    "query blank": {"query": " \t\n"},
    "query long": {"query": "a " * 5000},
    "query with NUL": {"query": "a\0b"},
}


@pytest.mark.parametrize("members", SEARCHES.values(), ids=SEARCHES)
async def test_no_search_accepts(members: Json, attacker: Attacker) -> None:
    body = json.dumps({"query": "heron", **members}).encode()

    answer = await attacker.send("POST", "/api/search", body, {"content-type": "application/json"})

    assert not faults(answer, {422})
    assert {field.split(".")[0] for field in fields(answer)} == set(members)


async def test_a_search_cursor_belongs_to_its_query_and_tenant(
    attacker: Attacker, victim: Victim, cursors: dict[str, str]
) -> None:
    theirs = (await victim.tenant.http.post("/api/search", json={"query": "the", "limit": 1})).json()
    own = (await attacker.own.http.post("/api/search", json={"query": "heron", "limit": 1})).json()
    assert own["next_cursor"]
    cases = [{"query": "kestrel", "cursor": own["next_cursor"]}]
    cases += [{"query": "heron", "cursor": cursor} for cursor in cursors.values()]
    cases += [{"query": "heron", "mode": "keyword", "cursor": own["next_cursor"]}]
    cases += [{"query": "the", "cursor": theirs["next_cursor"]}] if theirs["next_cursor"] else []

    for case in cases:
        answer = await attacker.send(
            "POST", "/api/search", json.dumps(case).encode(), {"content-type": "application/json"}
        )

        assert not faults(answer, {422}), case
