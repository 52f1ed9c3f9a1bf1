"""Tenants, for the platform's operator."""

from typing import Annotated

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.purging import GET_RECEIPT, PurgeReceipt, ReceiptOf
from quarry_common.contracts.tenancy import (
    CREATE_TENANT,
    DELETE_TENANT,
    LIST_TENANTS,
    RESOLVE_SLUG,
    RESTORE_TENANT,
    UPDATE_TENANT,
    CreateTenant,
    DeleteTenant,
    ListTenants,
    Name,
    Origin,
    Plan,
    QuotaChanges,
    ResolveSlug,
    RestoreTenant,
    Scope,
    Slug,
    Tenant,
    TenantPage,
    UpdateTenant,
)
from quarry_gateway.forms.validation import check, decode_query
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import JSON, MERGE_PATCH, read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Tenants"
PATCH_TYPES = (JSON, MERGE_PATCH)

Origins = Annotated[
    list[Origin],
    Meta(max_length=50, description="Web pages whose scripts may call the API; `*` is all, none is off."),
]


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    slug: Slug
    name: Name
    plan: Plan = Plan.STANDARD
    quotas: Annotated[QuotaChanges, Meta(description="Where it differs from its plan; null is no limit.")] = (
        QuotaChanges()
    )
    cors_origins: Origins = []


class TenantPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a tenant; what is left out stays. Quotas and origins take the place of those before."""

    name: Name | None = None
    plan: Plan | None = None
    quotas: QuotaChanges | None = None
    cors_origins: Origins | None = None
    disabled: Annotated[
        bool | None, Meta(description="Whether its keys are refused; within 5 seconds everywhere.")
    ] = None


class DeleteQuery(msgspec.Struct, frozen=True):
    """When a tenant that is deleted is purged."""

    grace_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=31_536_000,
                description="From now on; TENANT_GRACE_HOURS by default, ten seconds at least.",
            ),
        ]
        | None
    ) = None


class _SlugInPath(msgspec.Struct, frozen=True):
    slug: Slug


def _operation(summary: str, *, description: str = "", errors: tuple[int, ...] = (404,)) -> Operation:
    return Operation(
        access=Scope.PLATFORM,
        tag=TAG,
        summary=summary,
        description=description,
        replies={200: Tenant},
        errors=errors,
    )


@post(
    "/api/admin/tenants",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Create a tenant",
            body=NewTenant,
            body_example={"slug": "acme", "name": "Acme Ltd", "plan": "standard"},
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
    asked = CreateTenant(
        body.slug, body.name, body.plan, body.quotas, body.cors_origins, key, request.auth.actor
    )
    made = await gateway_of(request).ask(CREATE_TENANT, asked)
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


@get("/api/admin/tenants/{slug:str}", opt=declare(_operation("Read a tenant")))
async def get_tenant(request: Call, slug: FromPath[str]) -> Response[bytes]:
    """Answer one tenant."""
    return reply(await _named(request, slug))


@patch(
    "/api/admin/tenants/{slug:str}",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Change, disable or enable a tenant",
            description="What is left out stays. A tenant that is deleted has to be restored first.",
            body=TenantPatch,
            body_types=PATCH_TYPES,
            body_example={"plan": "business", "quotas": {"searches_per_day": 50_000}},
            replies={200: Tenant},
            errors=(404, 409),
        )
    ),
)
async def update_tenant(request: Call, slug: FromPath[str]) -> Response[bytes]:
    """Change a tenant and answer it."""
    body = await read_json(request, TenantPatch, kinds=PATCH_TYPES)
    tenant = await _named(request, slug)
    asked = UpdateTenant(
        tenant_id=tenant.id,
        name=body.name,
        plan=body.plan,
        quota_changes=body.quotas,
        cors_origins=body.cors_origins,
        disabled=body.disabled,
        actor=request.auth.actor,
    )
    return _changed(request, await gateway_of(request).ask(UPDATE_TENANT, asked))


@delete(
    "/api/admin/tenants/{slug:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Delete a tenant",
            description=(
                "It is disabled at once and purged from every store when the grace is over; until then it "
                "can be restored. Its slug stays taken."
            ),
            query=DeleteQuery,
            replies={200: Tenant},
            errors=(404, 409),
        )
    ),
)
async def delete_tenant(request: Call, slug: FromPath[str]) -> Response[bytes]:
    """Have a tenant purged and answer when."""
    query = decode_query(request.scope["query_string"], DeleteQuery)
    tenant = await _named(request, slug)
    asked = DeleteTenant(tenant.id, query.grace_seconds, request.auth.actor)
    return _changed(request, await gateway_of(request).ask(DELETE_TENANT, asked))


@post(
    "/api/admin/tenants/{slug:str}/restore",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Keep a tenant that was deleted",
            description="It is disabled still. Nothing can be restored once its purge has begun.",
            replies={200: Tenant},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def restore_tenant(request: Call, slug: FromPath[str]) -> Response[bytes]:
    """Keep a tenant and answer it."""
    key = idempotency_key(request)
    tenant = await _named(request, slug)
    asked = RestoreTenant(tenant.id, key, request.auth.actor)
    return _changed(request, await gateway_of(request).ask(RESTORE_TENANT, asked))


@get(
    "/api/admin/tenants/{slug:str}/purge",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Read the receipt of a tenant's purge",
            description=(
                "What was removed from each store, and what was found when everything was counted again. "
                "`finished_at` is null while it goes on."
            ),
            replies={200: PurgeReceipt},
            errors=(404,),
        )
    ),
)
async def get_purge_receipt(request: Call, slug: FromPath[str]) -> Response[bytes]:
    """Answer what became of a tenant's data."""
    asked = ReceiptOf(check({"slug": slug}, _SlugInPath).slug)
    return reply(await gateway_of(request).ask(GET_RECEIPT, asked))


async def _named(request: Call, slug: str) -> Tenant:
    asked = ResolveSlug(check({"slug": slug}, _SlugInPath).slug)
    return await gateway_of(request).ask(RESOLVE_SLUG, asked)


def _changed(request: Call, tenant: Tenant) -> Response[bytes]:
    gateway_of(request).authenticator.forget_tenant(tenant.id)
    return reply(tenant)


HANDLERS = [
    create_tenant,
    list_tenants,
    get_tenant,
    update_tenant,
    delete_tenant,
    restore_tenant,
    get_purge_receipt,
]
