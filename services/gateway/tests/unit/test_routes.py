"""Every route says who may call it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from quarry_common.contracts.api_keys import Principal
from quarry_common.contracts.tenancy import PLAN_QUOTAS, Plan, QuotaChanges, Scope, Tenant, TenantState
from quarry_common.errors import ForbiddenError, UnauthenticatedError, ValidationError
from quarry_common.ids import new_id
from quarry_gateway.domain import (
    Caller,
    CrossTenantError,
    acting_for,
    caller_of,
    names_another_tenant,
    require_scope,
    require_unexpired,
)
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY
from quarry_gateway.http.operations import OPERATION, Operation
from quarry_gateway.openapi import describe
from quarry_gateway.routes import HANDLERS
from quarry_gateway.routes.system import VERSION

EXPECTED = {
    "GET /api/webhooks/event-types": "webhooks:read or platform",
    "POST /api/webhooks": "webhooks:write",
    "GET /api/webhooks": "webhooks:read",
    "GET /api/webhooks/{webhook_id:str}": "webhooks:read",
    "PATCH /api/webhooks/{webhook_id:str}": "webhooks:write",
    "DELETE /api/webhooks/{webhook_id:str}": "webhooks:write",
    "POST /api/webhooks/{webhook_id:str}/rotate-secret": "webhooks:write",
    "POST /api/webhooks/{webhook_id:str}/test": "webhooks:write",
    "GET /api/webhooks/{webhook_id:str}/deliveries": "webhooks:read",
    "GET /api/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}": "webhooks:read",
    "POST /api/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/redeliver": "webhooks:write",
    "POST /api/webhooks/{webhook_id:str}/recover": "webhooks:write",
    "POST /api/webhooks/{webhook_id:str}/replay": "webhooks:write",
    "GET /api/webhooks/{webhook_id:str}/replays/{replay_id:str}": "webhooks:read",
    "GET /api/webhooks/{webhook_id:str}/stats": "webhooks:read",
    "GET /api/admin/webhooks": "platform",
    "POST /api/documents": "documents:write",
    "PUT /api/documents/by-external-id/{external_id:path}": "documents:write",
    "GET /api/documents": "documents:read",
    "GET /api/documents/{document_id:str}": "documents:read",
    "DELETE /api/documents/{document_id:str}": "documents:write",
    "GET /api/documents/by-external-id/{external_id:path}": "documents:read",
    "DELETE /api/documents/by-external-id/{external_id:path}": "documents:write",
    "POST /api/documents/batch": "documents:write",
    "PATCH /api/documents/{document_id:str}": "documents:write",
    "POST /api/documents/reindex": "documents:write",
    "GET /api/documents/{document_id:str}/content": "documents:read",
    "GET /api/documents/{document_id:str}/chunks": "documents:read",
    "GET /api/jobs": "documents:read",
    "GET /api/jobs/{job_id:str}": "documents:read",
    "GET /api/jobs/{job_id:str}/events": "documents:read",
    "POST /api/jobs/{job_id:str}/cancel": "documents:write",
    "POST /api/jobs/{job_id:str}/retry": "documents:write",
    "POST /api/jobs/cancel": "documents:write",
    "GET /api/dead-letters": "documents:read",
    "GET /api/dead-letters/{job_id:str}": "documents:read",
    "POST /api/dead-letters/replay": "documents:write",
    "POST /api/dead-letters/discard": "documents:write",
    "POST /api/dead-letters/{job_id:str}/replay": "documents:write",
    "DELETE /api/dead-letters/{job_id:str}": "documents:write",
    "POST /api/collections": "collections:write",
    "GET /api/collections": "collections:read",
    "GET /api/collections/{name:str}": "collections:read",
    "PATCH /api/collections/{name:str}": "collections:write",
    "DELETE /api/collections/{name:str}": "collections:write",
    "POST /api/search": "search",
    "POST /api/search/batch": "search",
    "GET /api/admin/analytics/popular": "analytics:read or platform",
    "GET /api/admin/analytics/no-results": "analytics:read or platform",
    "GET /api/admin/analytics/low-confidence": "analytics:read or platform",
    "GET /api/admin/analytics/stats": "analytics:read or platform",
    "GET /api/admin/analytics/timeseries": "analytics:read or platform",
    "GET /api/admin/analytics/trending": "analytics:read or platform",
    "GET /api/admin/analytics/export": "analytics:read or platform",
    "GET /api/admin/analytics/users/{user_id:str}": "analytics:read",
    "DELETE /api/admin/analytics/users/{user_id:str}": "analytics:write",
    "GET /api/admin/analytics/retention": "analytics:read",
    "PUT /api/admin/analytics/retention": "analytics:write",
    "POST /api/events": "search",
    "GET /api/events/stream": "events:read",
    "POST /api/judged-sets": "analytics:write",
    "GET /api/judged-sets": "analytics:read",
    "GET /api/judged-sets/{set_id:str}": "analytics:read",
    "PUT /api/judged-sets/{set_id:str}": "analytics:write",
    "DELETE /api/judged-sets/{set_id:str}": "analytics:write",
    "POST /api/judged-sets/{set_id:str}/queries": "analytics:write",
    "POST /api/judged-sets/{set_id:str}/runs": "analytics:write",
    "GET /api/judged-sets/{set_id:str}/runs": "analytics:read",
    "POST /api/keys": "keys:write",
    "GET /api/keys": "keys:read",
    "GET /api/keys/{key_id:str}": "keys:read",
    "GET /api/keys/{key_id:str}/usage": "keys:read",
    "POST /api/keys/{key_id:str}/rotate": "keys:write",
    "POST /api/keys/verify": "keys:read",
    "DELETE /api/keys/{key_id:str}": "keys:write",
    "GET /api/tenant": "tenant:read",
    "PATCH /api/tenant": "tenant:write",
    "GET /api/usage": "tenant:read",
    "GET /api/admin/usage": "platform",
    "GET /api/audit": "audit:read or platform",
    "GET /api/audit/verify": "audit:read or platform",
    "POST /api/signing-keys": "tenant:write",
    "GET /api/signing-keys": "tenant:read",
    "POST /api/signing-keys/{signing_key_id:str}/revoke": "tenant:write",
    "POST /api/domains": "tenant:write",
    "GET /api/domains": "tenant:read",
    "POST /api/domains/{domain:str}/check": "tenant:write",
    "DELETE /api/domains/{domain:str}": "tenant:write",
    "POST /api/admin/tenants": "platform",
    "GET /api/admin/tenants": "platform",
    "GET /api/admin/tenants/{slug:str}": "platform",
    "PATCH /api/admin/tenants/{slug:str}": "platform",
    "DELETE /api/admin/tenants/{slug:str}": "platform",
    "POST /api/admin/tenants/{slug:str}/restore": "platform",
    "GET /api/admin/tenants/{slug:str}/purge": "platform",
    "GET /api/admin/index": "platform",
    "POST /api/admin/index/repair": "platform",
    "GET /api/admin/cache": "platform",
    "DELETE /api/admin/cache": "keys:write or platform",
    "POST /api/admin/events/replay": "platform",
    "GET /api/admin/events/stream": "platform",
    "GET /api/health": "public",
    "GET /api/version": "public",
    "GET /livez": "public",
    "GET /readyz": "public",
    "GET /metrics": "public",
    "GET /openapi.json": "public",
    "GET /docs": "public",
    "GET /problems/{code:str}": "public",
}


def test_every_route_declares_its_scope_and_there_is_no_other() -> None:
    found = {}
    for handler in HANDLERS:
        operation = (handler.opt or {}).get(OPERATION)
        assert isinstance(operation, Operation), f"{handler.paths} declares no operation"
        for path in handler.paths:
            also = "" if operation.also is None else f" or {operation.also}"
            found[f"{min(handler.http_methods)} {path}"] = f"{operation.access}{also}"

    assert found == EXPECTED


def test_the_description_has_every_operation_of_the_api_with_its_security_and_problems() -> None:
    description = describe(HANDLERS, "1.0")

    operations = [
        (path, operation) for path, methods in description["paths"].items() for operation in methods.values()
    ]
    assert len(operations) == sum(1 for name in EXPECTED if name != "GET /docs") - 2
    for path, operation in operations:
        public = path in {"/api/health", "/api/version", "/livez", "/readyz", "/metrics"}
        assert bool(operation["security"]) is not public
        assert public or {"401", "403", "422", "503"} <= set(operation["responses"])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content.get("example") or "encoding" in content
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)


def test_every_post_that_changes_something_takes_an_idempotency_key() -> None:
    for handler in HANDLERS:
        if "POST" in handler.http_methods:
            operation = handler.opt[OPERATION]
            assert operation.reads_only is not (IDEMPOTENCY_KEY in operation.request_headers), handler.paths


def test_documents_are_described_with_their_etags_and_conditions() -> None:
    paths = describe(HANDLERS, "1.0")["paths"]
    one, own = paths["/api/documents/{document_id}"], paths["/api/documents/by-external-id/{external_id}"]

    for operation in (one["get"], one["patch"], own["get"], own["put"]):
        assert "ETag" in operation["responses"]["200"]["headers"]
    for operation in (one["patch"], one["delete"], own["put"], own["delete"]):
        assert "If-Match" in {each["name"] for each in operation["parameters"]}
        assert "412" in operation["responses"]
    assert "If-None-Match" in {each["name"] for each in own["put"]["parameters"]}
    assert set(one["patch"]["requestBody"]["content"]) == {"application/json", "application/merge-patch+json"}
    events = paths["/api/jobs/{job_id}/events"]["get"]
    assert "event: end" in events["responses"]["200"]["content"]["text/event-stream"]["example"]
    assert "Last-Event-ID" in {each["name"] for each in events["parameters"]}


def test_the_written_description_is_that_of_the_code() -> None:
    written = json.loads((Path(__file__).parents[4] / "docs" / "openapi.json").read_text())

    told = msgspec.json.decode(msgspec.json.encode(describe(HANDLERS, VERSION)))
    assert written == told, "run `make openapi`"


PLAN = Plan.STANDARD
ACME = Tenant(
    id=new_id(),
    slug="acme",
    name="Acme",
    plan=PLAN,
    quotas=PLAN_QUOTAS[PLAN],
    quota_changes=QuotaChanges(),
    state=TenantState.ACTIVE,
    created_at=datetime.now(UTC),
)


def principal(*scopes: Scope, tenant: Tenant | None = None, expires_at: datetime | None = None) -> Principal:
    return Principal(
        new_id(), tenant and tenant.id, tenant and tenant.slug, frozenset(scopes), expires_at=expires_at
    )


def test_an_operator_has_the_scopes_of_a_tenant_only_while_acting_for_it() -> None:
    operator = caller_of(principal(Scope.PLATFORM))

    acting = acting_for(operator, ACME)

    require_scope(acting, Scope.SEARCH)
    assert (acting.tenant_id, acting.quotas) == (ACME.id, ACME.quotas)
    with pytest.raises(ForbiddenError):
        require_scope(operator, Scope.SEARCH)
    with pytest.raises(ValidationError):
        _ = operator.tenant_id


@pytest.mark.parametrize("state", set(TenantState) - {TenantState.ACTIVE})
def test_an_operator_does_not_act_for_a_tenant_that_is_not_active(state: TenantState) -> None:
    with pytest.raises(ForbiddenError, match=state.value):
        acting_for(caller_of(principal(Scope.PLATFORM)), msgspec.structs.replace(ACME, state=state))


def test_only_an_operator_names_another_tenant() -> None:
    own = caller_of(principal(Scope.SEARCH, tenant=ACME))

    assert names_another_tenant(caller_of(principal(Scope.PLATFORM)), "acme")
    assert not names_another_tenant(own, "acme")
    with pytest.raises(CrossTenantError) as caught:
        names_another_tenant(own, "other")
    assert (caught.value.caller, caught.value.target) == (own, "tenant other")


def test_a_key_that_expires_while_it_is_remembered_is_refused() -> None:
    require_unexpired(principal(expires_at=datetime.now(UTC) + timedelta(seconds=60)))
    with pytest.raises(UnauthenticatedError):
        require_unexpired(principal(expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def limited_to(*collections: str) -> Caller:
    return msgspec.structs.replace(
        caller_of(principal(Scope.SEARCH, tenant=ACME)), collections=frozenset(collections)
    )


def test_a_limited_key_has_to_name_one_of_its_collections() -> None:
    two = limited_to("a", "b")

    assert two.chosen_collection("a") == "a"
    assert limited_to("a").chosen_collection(None) == "a"
    assert caller_of(principal(Scope.SEARCH, tenant=ACME)).chosen_collection(None) is None
    with pytest.raises(ForbiddenError, match="'c'"):
        two.chosen_collection("c")
    with pytest.raises(ValidationError):
        two.chosen_collection(None)


def test_a_key_for_no_collection_reaches_none() -> None:
    with pytest.raises(ForbiddenError):
        limited_to().require_collection("default")
    with pytest.raises(ValidationError):
        limited_to().chosen_collection(None)
