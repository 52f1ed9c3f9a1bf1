"""The HTTP application: routes, guard, errors, and the edge around them."""

import msgspec
from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from quarry_gateway.edge import Edge
from quarry_gateway.gateway import Gateway
from quarry_gateway.openapi import describe
from quarry_gateway.operations import authorize
from quarry_gateway.problems import answer_error
from quarry_gateway.routes import HANDLERS
from quarry_gateway.routes.system import VERSION


def create_app(gateway: Gateway) -> Edge:
    """Return the application that serves `gateway`."""
    description = describe(HANDLERS, VERSION)
    app = Litestar(
        HANDLERS,
        guards=[authorize],
        exception_handlers={HTTPException: answer_error, Exception: answer_error},
        state=State({"gateway": gateway, "openapi": msgspec.json.encode(description)}),
        # The description is made from the declarations beside the routes, bodies are bounded where they are
        # read, and logging belongs to the process.
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
    )
    return Edge(app, max_concurrent_requests=gateway.settings.max_concurrent_requests)
