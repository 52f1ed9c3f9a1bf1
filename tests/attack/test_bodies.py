"""JSON bodies that no route may accept."""

import json

import pytest
from tests.attack.bodies import (
    CONTENT_TYPES,
    EACH_WRONG,
    GENERIC,
    GREAT,
    ITEMS,
    Bad,
    all_wrong,
    wrong_fields,
)
from tests.attack.conftest import Attacker, Victim
from tests.attack.judge import INSIDE, faults, fields
from tests.attack.routes import WITH_BODY, Route
from tests.platform import Platform

MOST_CPU_SECONDS = 2.5
each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)


@pytest.mark.parametrize("bad", GENERIC.values(), ids=GENERIC)
async def test_no_route_accepts(bad: Bad, attacker: Attacker) -> None:
    wrong = {
        str(route): found
        for route in WITH_BODY
        if (found := faults(await attacker.send_json(route, bad.body), bad.statuses))
    }

    assert not wrong


@pytest.mark.parametrize("content_type", CONTENT_TYPES.values(), ids=CONTENT_TYPES)
async def test_no_route_reads_another_type(content_type: str, attacker: Attacker) -> None:
    wrong = {}
    for route in WITH_BODY:
        headers = {"content-type": content_type} if content_type else {}
        body = json.dumps(route.example).encode()
        answer = await attacker.send(route.method, route.target(), body, headers, route=route)
        if found := faults(answer, {415}):
            wrong[str(route)] = found

    assert not wrong


@each_route
async def test_a_field_of_the_wrong_type_is_named(route: Route, attacker: Attacker) -> None:
    wrong = {}
    for field, name, body in wrong_fields(route):
        answer = await attacker.send_json(route, body)
        found = faults(answer, {422} if name != "1e400" else {400, 422})
        if (
            not found
            and answer.status == 422
            and not any(named.startswith(field) for named in fields(answer))
        ):
            found = f"names {fields(answer)}"
        if found:
            wrong[field, name] = found

    assert not wrong


@pytest.mark.parametrize(("path", "body"), GREAT.values(), ids=GREAT)
async def test_a_million_of_anything_keeps_nobody_waiting(
    path: str, body: bytes, attacker: Attacker, platform: Platform
) -> None:
    gateway = platform.process("gateway")
    before = gateway.cpu_times()

    answer = await attacker.send("POST", path, body, {"content-type": "application/json"})

    after = gateway.cpu_times()
    assert not faults(answer, {422})
    # Of the processor, not of the clock: the machine may have other things to do.
    assert after.user + after.system - before.user - before.system < MOST_CPU_SECONDS


@each_route
async def test_every_wrong_field_is_named_at_once(route: Route, attacker: Attacker) -> None:
    names, body = all_wrong(route)

    answer = await attacker.send_json(route, body)

    assert not faults(answer, {422})
    assert {field.split(".")[0].split("[")[0] for field in fields(answer)} == names


NEEDED = {
    "POST /api/documents": {"content"},  # or a title; no field is required by itself
    "PUT /api/documents/by-external-id/{external_id}": {"content"},
    "POST /api/documents/reindex": {"document_ids"},
    "POST /api/jobs/cancel": {"job_ids"},
    "POST /api/dead-letters/replay": {"job_ids"},
    "POST /api/dead-letters/discard": {"job_ids"},
}
"""What is named when a body says nothing, where more than required fields is asked for."""


@each_route
async def test_every_missing_field_is_named(route: Route, attacker: Attacker) -> None:
    assert route.body is not None

    answer = await attacker.send_json(route, b"{}")

    if not route.body.get("required") and str(route) not in NEEDED:  # nothing has to be said
        assert answer.status in {200, 201} or not faults(answer, {404})
        return
    assert not faults(answer, {422})
    assert fields(answer) == NEEDED.get(str(route), set(route.body.get("required", ())))


@each_route
async def test_of_repeated_names_the_last_is_checked(route: Route, attacker: Attacker) -> None:
    assert route.body is not None
    field = next(name for name in route.body["properties"] if name != ITEMS)
    good = json.dumps(route.example)[1:-1]

    answer = await attacker.send_json(route, f'{{{good}, "{field}": [[]]}}'.encode())

    assert not faults(answer, {422})
    assert {named.split("[")[0] for named in fields(answer)} == {field}


@pytest.mark.parametrize("document", EACH_WRONG.values(), ids=EACH_WRONG)
async def test_a_thousand_wrong_documents_keep_nobody_waiting(
    document: bytes, attacker: Attacker, platform: Platform
) -> None:
    gateway = platform.process("gateway")
    body = b'{"documents": [' + b",".join([document] * 1000) + b"]}"
    before = gateway.cpu_times()

    answer = await attacker.send("POST", "/api/documents/batch", body, {"content-type": "application/json"})

    after = gateway.cpu_times()
    assert answer.status == 202, answer.body[:500]
    assert (answer.json["rejected"], len(answer.json["results"])) == (1000, 1000)
    assert after.user + after.system - before.user - before.system < MOST_CPU_SECONDS


async def test_each_wrong_value_of_a_document_is_told_of_it_alone(attacker: Attacker) -> None:
    single = next(route for route in WITH_BODY if str(route) == "POST /api/documents")
    wrong = [body for _, name, body in wrong_fields(single) if len(body) < 10_000 and name != "1e400"]
    good = b'{"title": "A heron by the pond"}'
    body = b'{"documents": [' + b",".join([good, *wrong, good]) + b"]}"

    answer = await attacker.send("POST", "/api/documents/batch", body, {"content-type": "application/json"})

    assert answer.status == 202, answer.body[:500]
    statuses = [result["status"] for result in answer.json["results"]]
    assert statuses == ["accepted", *["rejected"] * len(wrong), "accepted"]
    for result in answer.json["results"][1:-1]:
        error = result["error"]
        assert (error["status"], error["code"]) == (422, "validation_failed"), error
        assert error["errors"]
        assert not INSIDE.search(json.dumps(error))


@each_route
async def test_the_tenant_in_a_body_is_not_believed(route: Route, attacker: Attacker, victim: Victim) -> None:
    for name in ("tenant", "tenant_id", "tenant_slug", "X-Tenant", "owner", "granted_by"):
        body = {**route.example, name: str(victim.tenant.id)}

        answer = await attacker.send_json(route, json.dumps(body).encode())

        assert not faults(answer, {422})
        assert fields(answer) == {name}
