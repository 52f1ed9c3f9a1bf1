"""Tenants, for the platform's operator."""

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from quarry_common.contracts.tenancy import (
    CREATE_TENANT,
    LIST_TENANTS,
    RESOLVE_SLUG,
    CreateTenant,
    ListTenants,
    Name,
    ResolveSlug,
    Scope,
    Slug,
    Tenant,
    TenantPage,
)
from quarry_gateway.bodies import read_json
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.operations import Operation, declare
from quarry_gateway.paging import PageQuery
from quarry_gateway.validation import check, decode_query

TAG = "Tenants"


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    slug: Slug
    name: Name


class _SlugInPath(msgspec.Struct, frozen=True):
    slug: Slug


@post(
    "/api/admin/tenants",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Create a tenant",
            body=NewTenant,
            body_example={"slug": "acme", "name": "Acme Ltd"},
            replies={201: Tenant},
            errors=(409,),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def create_tenant(request: Call) -> Response[bytes]:
    """Make a tenant and answer it."""
    key = idempotency_key(request)
    body = await read_json(request, NewTenant)
    made = await gateway_of(request).ask(CREATE_TENANT, CreateTenant(body.slug, body.name, key))
    return reply(made, 201, location=f"/api/admin/tenants/{made.slug}")


@get(
    "/api/admin/tenants",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="List tenants in the order of their creation",
            query=PageQuery,
            replies={200: TenantPage},
        )
    ),
)
async def list_tenants(request: Call) -> Response[bytes]:
    """Answer a page of tenants."""
    query = decode_query(request.scope["query_string"], PageQuery)
    return reply(await gateway_of(request).ask(LIST_TENANTS, ListTenants(query.limit, query.cursor)))


@get(
    "/api/admin/tenants/{slug:str}",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Read a tenant",
            replies={200: Tenant},
            errors=(404,),
        )
    ),
)
async def get_tenant(request: Call, slug: FromPath[str]) -> Response[bytes]:
    """Answer one tenant."""
    asked = ResolveSlug(check({"slug": slug}, _SlugInPath).slug)
    return reply(await gateway_of(request).ask(RESOLVE_SLUG, asked))


HANDLERS = [create_tenant, list_tenants, get_tenant]
