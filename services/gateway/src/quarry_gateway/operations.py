"""What is declared beside a route: who may call it, what it reads and what it answers.

The guard and the API's description are made from the same declaration.
"""

from typing import Final, Literal

import msgspec
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers, State
from litestar.handlers import BaseRouteHandler

from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import MalformedError, UnauthenticatedError
from quarry_gateway.domain import TENANT_HEADER, Caller, require_scope
from quarry_gateway.gateway import Gateway

OPERATION: Final = "operation"
PUBLIC: Final = "public"
"""Access of a route that asks for no key."""
MAX_HEADER_LENGTH = 200
DECISIVE: Final = ("X-API-Key", "Authorization", TENANT_HEADER, "Idempotency-Key")
"""Headers that whoever stands before the gateway may read differently when there are two of them."""

Connection = ASGIConnection[BaseRouteHandler, None, Caller, State]
Access = Scope | Literal["public"]
Example = dict[str, object]


class Header(msgspec.Struct, frozen=True):
    """A header as the API's description tells of it, with the JSON Schema of its value."""

    name: str
    description: str
    schema: dict[str, object]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the API."""

    access: Access
    also: Scope | None = None
    """Another scope that suffices."""
    tag: str
    summary: str
    description: str = ""
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    body_example: Example | None = None
    body_types: tuple[str, ...] = ("application/json",)
    """Media types under which the JSON body may come."""
    form: type[msgspec.Struct] | None = None
    """Fields beside the part `file`, when the body may be multipart/form-data."""
    replies: dict[int, type[msgspec.Struct] | tuple[type[msgspec.Struct], ...] | str]
    """By status: the type of the JSON answer, or one of several, or the media type of another answer."""
    errors: tuple[int, ...] = ()
    """Statuses of problems beyond those that every operation may answer with."""
    request_headers: tuple[Header, ...] = ()
    reply_headers: tuple[Header, ...] = ()
    """Those of an answer that is no error."""
    reply_example: str | None = None
    """Of an answer that is not JSON."""
    reply_schema: dict[str, object] | None = None
    """Of an answer that is not JSON, such as one event of a stream; None for a text."""
    reads_only: bool = False
    """Whether it changes nothing although it is a POST: then it needs no idempotency key."""
    hidden: bool = False
    """Whether the API's description leaves it out: pages, not API."""


def declare(operation: Operation) -> dict[str, Operation]:
    """Return the `opt` that declares a route's operation."""
    return {OPERATION: operation}


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request pass only with the access that its route declares; a route without one lets nobody in."""
    if connection.scope.get("method") == "OPTIONS":
        return  # made by the framework for every path; it tells the methods and nothing else
    operation: Operation = handler.opt[OPERATION]
    if operation.access == PUBLIC:
        return
    gateway: Gateway = connection.app.state.gateway
    headers = connection.headers
    for name in DECISIVE:
        if len(headers.getall(name, ())) > 1:
            raise MalformedError(f"The header {name} is given more than once.", advice="Send it once.")
    caller = await gateway.authenticator.authenticate(key_of(headers), headers.get(TENANT_HEADER))
    if operation.also is None or operation.also not in caller.scopes:
        require_scope(caller, operation.access)
    connection.scope["auth"] = caller


def key_of(headers: Headers) -> str:
    """Return the key that a request carries. Raises `UnauthenticatedError` when there is none, or two."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    found = {headers.get("x-api-key", ""), token.strip() if kind.lower() == "bearer" else ""} - {""}
    if not found:
        raise UnauthenticatedError("The request carries no API key.")
    if len(found) > 1:
        raise UnauthenticatedError(
            "The request carries two different API keys.", advice="Send one, in one of the two headers."
        )
    (key,) = found
    if len(key) > MAX_HEADER_LENGTH:
        raise UnauthenticatedError("The API key is malformed.")
    return key
