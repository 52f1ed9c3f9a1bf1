"""The headers that every answer has."""

from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from quarry_gateway.app import create_app
from quarry_gateway.gateway import Gateway
from quarry_gateway.http.edge import Edge
from quarry_gateway.openapi import reference

Headers = list[tuple[bytes, bytes]]


async def answered(own: Headers | None, **options: int) -> Headers:
    """Return the headers of an answer whose own are `own`; None stands for an application that fails."""
    sent: list[dict[str, object]] = []

    async def app(scope: object, receive: object, send: object) -> None:
        if own is None:
            raise ValueError("a fault")
        await send({"type": "http.response.start", "status": 200, "headers": own})  # type: ignore[operator]

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [],
    }  # fmt: skip
    await Edge(app, max_concurrent_requests=options.pop("places", 1), **options)(scope, send, send)
    return sent[0]["headers"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("own", "places"), [([], 1), (None, 1), ([], 0)], ids=["an answer", "a fault", "an overload"]
)
async def test_every_answer_lets_browsers_do_as_little_as_possible(own: Headers | None, places: int) -> None:
    headers = dict(await answered(own, places=places))

    assert headers[b"content-security-policy"] == b"default-src 'none'; frame-ancestors 'none'"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"x-frame-options"] == b"DENY"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"
    assert headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(
    "header",
    [
        (b"content-security-policy", b"default-src 'self'"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"cache-control", b"max-age=60"),
    ],
)
async def test_an_answer_that_says_otherwise_keeps_its_word(header: tuple[bytes, bytes]) -> None:
    headers = await answered([header])

    assert [value for name, value in headers if name == header[0]] == [header[1]]


async def test_https_alone_is_asked_for_only_when_it_is_configured() -> None:
    assert b"strict-transport-security" not in dict(await answered([]))
    asked = dict(await answered([], hsts_seconds=86_400))
    assert asked[b"strict-transport-security"] == b"max-age=86400"


async def test_pages_for_people_have_the_policy_of_their_own_style() -> None:
    settings = SimpleNamespace(max_concurrent_requests=1, hsts_seconds=0)
    gateway = SimpleNamespace(settings=settings, origins=None, answered=lambda _scope, _status: None)
    app = create_app(cast(Gateway, gateway))

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get("/docs")

    assert answer.headers.get_list("content-security-policy") == [reference.POLICY]
    assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
    assert "frame-ancestors 'none'" in reference.POLICY
