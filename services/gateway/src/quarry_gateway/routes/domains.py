"""Custom domains of a tenant."""

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from quarry_common.contracts.domains import (
    CHECK_DOMAIN,
    LIST_DOMAINS,
    REGISTER_DOMAIN,
    REMOVE_DOMAIN,
    Domain,
    DomainName,
    DomainRef,
    Domains,
    DomainsOf,
)
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.forms.validation import check
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare

TAG = "Domains"


class NewDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name that is the tenant's own."""

    name: DomainName


class _DomainInPath(msgspec.Struct, frozen=True):
    domain: DomainName


@post(
    "/api/domains",
    opt=declare(
        Operation(
            access=Scope.TENANT_WRITE,
            tag=TAG,
            summary="Claim a domain",
            description=(
                "The answer tells the TXT record that proves the claim: put it into the DNS, then have it "
                "checked. A name that is claimed already is answered as it stands."
            ),
            body=NewDomain,
            body_example={"name": "search.acme.example"},
            replies={201: Domain},
            errors=(409,),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def register_domain(request: Call) -> Response[bytes]:
    """Claim a name and answer the record that proves it."""
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    body = await read_json(request, NewDomain)
    asked = DomainRef(tenant_id, body.name, key, request.auth.actor)
    return reply(await gateway_of(request).ask(REGISTER_DOMAIN, asked), 201)


@get(
    "/api/domains",
    opt=declare(
        Operation(
            access=Scope.TENANT_READ,
            tag=TAG,
            summary="List domains by name",
            replies={200: Domains},
        )
    ),
)
async def list_domains(request: Call) -> Response[bytes]:
    """Answer the tenant's domains."""
    return reply(await gateway_of(request).ask(LIST_DOMAINS, DomainsOf(request.auth.tenant_id)))


@post(
    "/api/domains/{domain:str}/check",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.TENANT_WRITE,
            tag=TAG,
            summary="Look for the record of a domain now",
            description=(
                "`problem` tells what was found instead of the record. A domain that another tenant has "
                "verified is a conflict."
            ),
            replies={200: Domain},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def check_domain(request: Call, domain: FromPath[str]) -> Response[bytes]:
    """Look for the record and answer what became of the claim."""
    asked = msgspec.structs.replace(_named(request, domain), idempotency_key=idempotency_key(request))
    return reply(await gateway_of(request).ask(CHECK_DOMAIN, asked))


@delete(
    "/api/domains/{domain:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.TENANT_WRITE,
            tag=TAG,
            summary="Give a domain up",
            description="It stands for the tenant no more, everywhere within 5 seconds.",
            replies={200: Domain},
            errors=(404,),
        )
    ),
)
async def remove_domain(request: Call, domain: FromPath[str]) -> Response[bytes]:
    """Give a name up and answer the claim as it was."""
    return reply(await gateway_of(request).ask(REMOVE_DOMAIN, _named(request, domain)))


def _named(request: Call, domain: str) -> DomainRef:
    name = check({"domain": domain}, _DomainInPath).domain
    return DomainRef(request.auth.tenant_id, name, actor=request.auth.actor)


HANDLERS = [register_domain, list_domains, check_domain, remove_domain]
