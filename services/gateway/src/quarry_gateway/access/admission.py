"""Letting a request in: who asks, from where, for which things and how often.

Every route that is not public passes here before its handler. What was asked and how it ended is seen by
`Gateway.answered`, after the answer.
"""

from typing import Final
from uuid import UUID

from litestar.datastructures import Headers
from litestar.handlers import BaseRouteHandler

from quarry_common.contracts.audit import ActorKind
from quarry_common.contracts.documents import GET_DOCUMENT, DocumentRef
from quarry_common.contracts.jobs import GET_JOB, JobRef
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import (
    ForbiddenError,
    MalformedError,
    NotFoundError,
    QuarryError,
    UnauthenticatedError,
)
from quarry_gateway.access.addresses import client_address, within
from quarry_gateway.access.auth import Credentials
from quarry_gateway.access.cors import readable_headers
from quarry_gateway.access.search_tokens import MAX_TOKEN_LENGTH
from quarry_gateway.domain import TENANT_HEADER, Caller, CrossTenantError, require_scope
from quarry_gateway.forms.validation import path_uuid
from quarry_gateway.gateway import Gateway
from quarry_gateway.http.edge import ANSWER_HEADERS, Message
from quarry_gateway.http.operations import OPERATION, Connection, Operation
from quarry_gateway.limits.buckets import KEYLESS_LIMIT, Bucket, Endpoint, Owner, buckets_of
from quarry_gateway.limits.decisions import Decision, refusal
from quarry_gateway.limits.decisions import headers as rate_headers

DECISIVE: Final = ("X-API-Key", "Authorization", TENANT_HEADER, "Idempotency-Key")
"""Headers that whoever stands before the gateway may read differently when there are two of them."""
_KEYS: Final = ("x-api-key", "authorization")
_CLASSES: Final = {
    Scope.SEARCH: Endpoint.SEARCH,
    Scope.DOCUMENTS_READ: Endpoint.READ,
    Scope.COLLECTIONS_READ: Endpoint.READ,
    Scope.DOCUMENTS_WRITE: Endpoint.WRITE,
    Scope.COLLECTIONS_WRITE: Endpoint.WRITE,
}


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request pass only with the access that its route declares; a route without one lets nobody in."""
    if connection.scope.get("method") == "OPTIONS":
        return  # made by the framework for every path; it tells the methods and nothing else
    operation: Operation = handler.opt[OPERATION]
    if not isinstance(operation.access, Scope):
        return
    gateway: Gateway = connection.app.state.gateway
    if operation.keyless and not any(name in connection.headers for name in _KEYS):
        await _let_page_read(gateway, connection)
        return
    try:
        caller = await _authenticate(gateway, connection)
    except QuarryError:
        await _let_page_read(gateway, connection)
        raise
    connection.scope["auth"] = caller
    await _admit(gateway, connection, operation, operation.access)


async def _authenticate(gateway: Gateway, connection: Connection) -> Caller:
    scope = connection.scope
    address = client_address(scope.get("client"), scope["headers"], gateway.proxies)
    credentials = credentials_of(
        connection.headers, str(scope.get("request_id", "")), None if address is None else str(address)
    )
    try:
        caller = await gateway.authenticator.authenticate(credentials)
    except CrossTenantError as error:
        scope["auth"] = error.caller
        await charge(gateway, scope, error.caller, Endpoint.ADMIN, 1)  # type: ignore[arg-type]
        gateway.audit.denied(error.caller, "tenant.reached_for", error.target)
        raise
    if caller.networks and not within(address, caller.networks):
        scope["auth"] = caller
        raise ForbiddenError(
            "The key may not be used from this address.", advice="Use it from the networks it is bound to."
        )
    return caller


async def _admit(gateway: Gateway, connection: Connection, operation: Operation, scope: Scope) -> None:
    caller = connection.auth
    origin = connection.headers.get("origin")
    if origin is not None:
        _add_headers(connection.scope, readable_headers(origin, caller.cors_origins))  # type: ignore[arg-type]
    if operation.also is None or operation.also not in caller.scopes:
        require_scope(caller, scope)
    await charge(gateway, connection.scope, caller, endpoint_of(scope), 1)  # type: ignore[arg-type]
    await _require_reach(gateway, caller, connection)
    if caller.kind is ActorKind.OPERATOR:
        asked = f"{connection.scope['method']} {connection.scope['path']}"  # type: ignore[typeddict-item]
        gateway.audit.noted(caller, "operator.acted", asked)


async def _let_page_read(gateway: Gateway, connection: Connection) -> None:
    """Let a page that some tenant lists read why it was refused before its tenant was known."""
    origin = connection.headers.get("origin")
    if origin is not None and await gateway.origins.listed(origin):
        _add_headers(connection.scope, readable_headers(origin, [origin]))  # type: ignore[arg-type]


def endpoint_of(scope: Scope) -> Endpoint:
    """Return the class of endpoints whose rate limit a route with this access counts on."""
    return _CLASSES.get(scope, Endpoint.ADMIN)


async def charge_interactions(gateway: Gateway, scope: Message, tenant_id: UUID, count: int) -> None:
    """Count what browsers without a key tell of a tenant's answers. Raises `RateLimitedError`."""
    bucket = Bucket(Owner.TENANT, tenant_id, Endpoint.INTERACTIONS, KEYLESS_LIMIT)
    _judge(scope, await gateway.limits.rates.take((bucket,), count))


async def charge(
    gateway: Gateway, scope: Message, caller: Caller, endpoint: Endpoint, cost: int, *, paid: int = 0
) -> None:
    """Count units of the rate limit. Raises `RateLimitedError` when they come too soon.

    Each request is counted as one before its route; a route whose body asks for more counts the rest, and
    tells what was `paid`.
    """
    if cost < 1:
        return
    _judge(scope, await gateway.limits.rates.take(buckets_of(caller, endpoint), cost, paid))


def _judge(scope: Message, decision: Decision) -> None:
    if decision.bucket is None:
        return
    _add_headers(
        scope,
        [
            (name.lower().encode(), value.encode())
            for name, value in rate_headers(decision).items()
            if name != "Retry-After"  # the problem has it
        ],
    )
    if not decision.allowed:
        raise refusal(decision)


def _add_headers(scope: Message, headers: list[tuple[bytes, bytes]]) -> None:
    """Have the answer get headers; one of the same name that was added before is replaced."""
    names = {name for name, _ in headers}
    kept = [header for header in scope.get(ANSWER_HEADERS, ()) if header[0] not in names]
    scope[ANSWER_HEADERS] = [*kept, *headers]


def credentials_of(headers: Headers, request_id: str, address: str | None = None) -> Credentials:
    """Return what a request carries in its headers to be let in.

    Raises `MalformedError` when a header that decides is given twice, `UnauthenticatedError` without a key.
    """
    for name in DECISIVE:
        if len(headers.getall(name, ())) > 1:
            raise MalformedError(f"The header {name} is given more than once.", advice="Send it once.")
    return Credentials(
        secret=_secret_of(headers),
        tenant_slug=headers.get(TENANT_HEADER),
        host=headers.get("host", "").rpartition("@")[2].partition(":")[0].rstrip(".").lower(),
        address=address,
        request_id=request_id,
    )


def _secret_of(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    found = {headers.get("x-api-key", ""), token.strip() if kind.lower() == "bearer" else ""} - {""}
    if not found:
        raise UnauthenticatedError("The request carries no API key.")
    if len(found) > 1:
        raise UnauthenticatedError(
            "The request carries two different API keys.", advice="Send one, in one of the two headers."
        )
    (secret,) = found
    if len(secret) > MAX_TOKEN_LENGTH:
        raise UnauthenticatedError("The API key is malformed.")
    return secret


async def _require_reach(gateway: Gateway, caller: Caller, connection: Connection) -> None:
    """Raise `NotFoundError` when a path names something in a collection that the caller is not for."""
    if caller.collections is None:
        return
    named = connection.path_params
    if "document_id" in named:
        ref = DocumentRef(caller.tenant_id, path_uuid(named["document_id"], "document_id"))
        document = await gateway.ask(GET_DOCUMENT, ref)
        if not caller.reaches(document.collection):
            raise NotFoundError("There is no such document.")
    if "job_id" in named:
        job = await gateway.ask(GET_JOB, JobRef(caller.tenant_id, path_uuid(named["job_id"], "job_id")))
        if not caller.reaches(job.collection):
            raise NotFoundError("There is no such job.")
