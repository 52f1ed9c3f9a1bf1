"""The caller's own tenant."""

import asyncio
from datetime import UTC, datetime

import msgspec
from litestar import Response, get, patch

from quarry_common.contracts.tenancy import (
    GET_TENANT,
    UPDATE_TENANT,
    GetTenant,
    Plan,
    Quotas,
    Scope,
    Tenant,
    UpdateTenant,
)
from quarry_common.contracts.usage import SEARCH_DAYS, STORED_NOW, TenantRef, UsageRange
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import JSON, MERGE_PATCH, read_json
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.routes.tenants import Origins

TAG = "Tenant"
PATCH_TYPES = (JSON, MERGE_PATCH)


class Use(msgspec.Struct, frozen=True):
    """What of the quotas is used now."""

    documents: int
    storage_bytes: int
    searches_today: int
    """Answered since midnight UTC, as far as it is known: gateways tell within seconds."""


class OwnTenant(msgspec.Struct, frozen=True):
    """The tenant as it sees itself."""

    slug: str
    name: str
    plan: Plan
    quotas: Quotas
    use: Use
    cors_origins: list[str]
    created_at: datetime


class OwnTenantPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant may change of itself."""

    cors_origins: Origins | None = None


@get(
    "/api/tenant",
    opt=declare(
        Operation(
            access=Scope.TENANT_READ,
            tag=TAG,
            summary="Read the tenant, its quotas and what of them is used",
            replies={200: OwnTenant},
        )
    ),
)
async def get_own_tenant(request: Call) -> Response[bytes]:
    """Answer the caller's tenant."""
    gateway, tenant_id = gateway_of(request), request.auth.tenant_id
    return reply(await _told(request, await gateway.ask(GET_TENANT, GetTenant(tenant_id))))


@patch(
    "/api/tenant",
    opt=declare(
        Operation(
            access=Scope.TENANT_WRITE,
            tag=TAG,
            summary="Change which web pages may call the API",
            body=OwnTenantPatch,
            body_types=PATCH_TYPES,
            body_example={"cors_origins": ["https://www.acme.example"]},
            replies={200: OwnTenant},
            errors=(409,),
        )
    ),
)
async def update_own_tenant(request: Call) -> Response[bytes]:
    """Change the caller's tenant and answer it."""
    gateway, caller = gateway_of(request), request.auth
    tenant_id = caller.tenant_id
    body = await read_json(request, OwnTenantPatch, kinds=PATCH_TYPES)
    asked = UpdateTenant(tenant_id, cors_origins=body.cors_origins, actor=caller.actor)
    changed = await gateway.ask(UPDATE_TENANT, asked)
    gateway.authenticator.forget_tenant(tenant_id)
    return reply(await _told(request, changed))


async def _told(request: Call, tenant: Tenant) -> OwnTenant:
    gateway = gateway_of(request)
    today = datetime.now(UTC).date()
    stored, searched = await asyncio.gather(
        gateway.ask(STORED_NOW, TenantRef(tenant.id)),
        gateway.ask(SEARCH_DAYS, UsageRange(tenant.id, today, today)),
    )
    searches = sum(day.searches for day in searched.days)
    return OwnTenant(
        slug=tenant.slug,
        name=tenant.name,
        plan=tenant.plan,
        quotas=tenant.quotas,
        use=Use(stored.documents, stored.storage_bytes, searches),
        cors_origins=tenant.cors_origins,
        created_at=tenant.created_at,
    )


HANDLERS = [get_own_tenant, update_own_tenant]
