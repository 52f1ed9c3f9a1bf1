"""`Idempotency-Key` reaches whoever does the work, from every POST that changes something."""

import re

import pytest

from quarry_common.ids import new_id
from quarry_gateway.http.operations import OPERATION
from quarry_gateway.routes import HANDLERS

POSTS = [
    (path, handler.opt[OPERATION])
    for handler in HANDLERS
    if "POST" in handler.http_methods
    for path in handler.paths
]
CHANGING = [(path, operation) for path, operation in POSTS if not operation.reads_only]


@pytest.mark.parametrize(("path", "operation"), CHANGING, ids=[path for path, _ in CHANGING])
async def test_the_key_is_passed_on(client, backend, path, operation) -> None:
    if operation.access == "platform":
        client.headers.update({"X-API-Key": backend.key(operator=True), "X-Tenant": "acme"})
    target = re.sub(
        r"{\w+:\w+}", str(new_id()), path.replace("{slug:str}", "other").replace("{domain:str}", "a.example")
    )

    await client.post(target, json=operation.body_example, headers={"Idempotency-Key": "of the test"})

    keys = {getattr(asked, "idempotency_key", None) for asked in backend.asked}
    assert keys & {"of the test", "of the test#0"}


@pytest.mark.parametrize(("path", "operation"), CHANGING, ids=[path for path, _ in CHANGING])
@pytest.mark.parametrize("key", ["", "é", "a\tb", "x" * 256], ids=["empty", "not ASCII", "tab", "long"])
async def test_what_cannot_be_a_key_is_refused(client, backend, path, operation, key) -> None:
    if operation.access == "platform":
        client.headers.update({"X-API-Key": backend.key(operator=True), "X-Tenant": "acme"})
    target = re.sub(r"{\w+:\w+}", str(new_id()), path)

    answer = await client.post(target, json=operation.body_example, headers={"Idempotency-Key": key.encode()})

    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]


async def test_a_search_only_reads_and_looks_at_no_key(client, backend) -> None:
    assert {path for path, operation in POSTS if operation.reads_only} == {
        "/api/events",
        "/api/judged-sets/{set_id:str}/queries",
        "/api/judged-sets/{set_id:str}/runs",
        "/api/keys/verify",
        "/api/search",
        "/api/search/batch",
    }

    answer = await client.post("/api/search", json={"query": "x"}, headers={"Idempotency-Key": "x" * 300})

    assert answer.status_code == 200
