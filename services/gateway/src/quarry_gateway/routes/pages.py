"""Pages about the API: its description, its reference, and what each problem means."""

import json
from collections.abc import Iterator
from html import escape

from litestar import Response, get
from litestar.params import FromPath

from quarry_common.errors import NotFoundError, QuarryError
from quarry_gateway.gateway import Call
from quarry_gateway.http import problems
from quarry_gateway.http.operations import PUBLIC, Operation, declare
from quarry_gateway.openapi import reference

TAG = "Pages"


def _hidden(summary: str, media_type: str) -> dict[str, Operation]:
    return declare(Operation(access=PUBLIC, tag=TAG, summary=summary, replies={200: media_type}, hidden=True))


@get("/openapi.json", opt=_hidden("The API's description", "application/json"))
async def openapi(request: Call) -> Response[bytes]:
    """Answer the description in OpenAPI 3.1."""
    return Response(request.app.state.openapi, media_type="application/json")


@get("/docs", opt=_hidden("The API's reference", "text/html"))
async def docs(request: Call) -> Response[str]:
    """Answer the reference, made for people."""
    return _html(reference.page(json.loads(request.app.state.openapi)))


@get("/problems/{code:str}", opt=_hidden("What a problem means", "text/html"))
async def problem(code: FromPath[str]) -> Response[str]:
    """Answer what the problem `code` means and what to do about it."""
    kind = next((kind for kind in _kinds(QuarryError) if kind.code == code), None)
    if kind is None:
        raise NotFoundError(
            "There is no page about this problem; its `detail` and `advice` say what is known."
        )
    return _html(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(kind.title)}</title><style>{reference.STYLE}</style><main>"
        f"<h1>{escape(kind.title)}</h1><p><code>{escape(code)}</code>, status {kind.status}</p>"
        f"<p>{escape((kind.__doc__ or '').strip())}</p><p>{escape(kind.advice)}</p>"
        '<p><a href="/docs">API reference</a></p>'
    )


def _kinds(kind: type[QuarryError]) -> Iterator[type[QuarryError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from _kinds(sub)


def _html(text: str) -> Response[str]:
    return Response(text, media_type="text/html", headers={"content-security-policy": reference.POLICY})


HANDLERS = [openapi, docs, problem]
assert problems.TYPE_PREFIX == "/problems/"  # noqa: S101 - the path above is what problems point to
