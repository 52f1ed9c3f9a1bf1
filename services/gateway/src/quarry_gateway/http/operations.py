"""What is declared beside a route: who may call it, what it reads and what it answers.

The guard and the API's description are made from the same declaration.
"""

from typing import Final, Literal

import msgspec
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from quarry_common.contracts.tenancy import Scope
from quarry_gateway.domain import Caller

OPERATION: Final = "operation"
PUBLIC: Final = "public"
"""Access of a route that asks for no key."""

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
    keyless: bool = False
    """Whether a request without any key reaches the route, too: it then has to know by itself whose it is."""
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
    other_types: tuple[str, ...] = ()
    """Media types in which the answer may come besides."""
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
    """Whether it changes nothing although it is a POST, or nothing more when it comes again: then it needs no
    idempotency key."""
    hidden: bool = False
    """Whether the API's description leaves it out: pages, not API."""


def declare(operation: Operation) -> dict[str, Operation]:
    """Return the `opt` that declares a route's operation."""
    return {OPERATION: operation}
