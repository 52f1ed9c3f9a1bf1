"""The HTTP application: routes, guard, errors, and the edge around them."""

import re
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from quarry_gateway.access.admission import authorize
from quarry_gateway.access.cors import Origins, preflight_headers
from quarry_gateway.domain import Caller
from quarry_gateway.gateway import Gateway
from quarry_gateway.http.edge import Edge
from quarry_gateway.http.problems import answer_error
from quarry_gateway.openapi import describe
from quarry_gateway.routes import HANDLERS
from quarry_gateway.routes.system import VERSION


def create_app(gateway: Gateway) -> Edge:
    """Return the application that serves `gateway`."""
    description = describe(HANDLERS, VERSION)
    app = Litestar(
        HANDLERS,
        guards=[authorize],
        before_request=_answer_options(HANDLERS, gateway.origins),
        exception_handlers={HTTPException: answer_error, Exception: answer_error},
        state=State({"gateway": gateway, "openapi": msgspec.json.encode(description)}),
        # The description is made from the declarations beside the routes, bodies are bounded where they are
        # read, and logging belongs to the process.
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
    )
    settings = gateway.settings
    return Edge(
        app,
        max_concurrent_requests=settings.max_concurrent_requests,
        hsts_seconds=settings.hsts_seconds,
        answered=gateway.answered,
    )


def _answer_options(
    handlers: Iterable[HTTPRouteHandler], origins: Origins
) -> Callable[[Request[None, Caller, State]], Awaitable[Response[None] | None]]:
    """Return what answers OPTIONS with all methods of a path, the framework tells those of one handler; and
    with what a browser asks before it sends a request of another site's page."""
    methods: dict[str, set[str]] = {}
    for handler in handlers:
        for path in handler.paths:
            template = re.sub(r"{(\w+):\w+}", r"{\1}", path)
            methods.setdefault(template, {"OPTIONS"}).update(handler.http_methods)

    async def answer(request: Request[None, Caller, State]) -> Response[None] | None:
        if request.method != "OPTIONS":
            return None
        allowed = sorted(methods[request.scope["path_template"]])
        headers = {"allow": ", ".join(allowed)}
        origin = request.headers.get("origin")
        if origin and "access-control-request-method" in request.headers and await origins.listed(origin):
            headers |= preflight_headers(origin, allowed)
        return Response(None, status_code=204, headers=headers)

    return answer
