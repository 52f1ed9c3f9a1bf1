"""The audit log of a tenant, and of the installation."""

from typing import Annotated
from uuid import UUID

from litestar import Response, get
from msgspec import Meta

from quarry_common.contracts.audit import (
    LIST_AUDIT,
    VERIFY_AUDIT,
    AuditOutcome,
    AuditPage,
    AuditVerdict,
    ListAudit,
    VerifyAudit,
)
from quarry_common.contracts.tenancy import PLATFORM_TENANT, Scope
from quarry_gateway.forms.validation import decode_query
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Audit log"
VERIFY_SECONDS = 60.0


Action = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=r"^[a-z_]+(\.[a-z_]+)?$(?!\n)",
        description="An action, or what it was done to.",
        examples=["api_key.revoked", "api_key"],
    ),
]


class AuditQuery(PageQuery, frozen=True):
    """Which entries to list."""

    action: Action | None = None
    outcome: AuditOutcome | None = None


@get(
    "/api/audit",
    opt=declare(
        Operation(
            access=Scope.AUDIT_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="List what was done and what was denied, latest first",
            description=(
                "Of the caller's tenant; an operator who acts for none sees the installation's own log. An "
                "act is told before it is answered, a denial within seconds."
            ),
            query=AuditQuery,
            replies={200: AuditPage},
        )
    ),
)
async def list_audit(request: Call) -> Response[bytes]:
    """Answer a page of the log."""
    query = decode_query(request.scope["query_string"], AuditQuery)
    asked = ListAudit(_log_of(request), query.limit, query.cursor, query.action, query.outcome)
    return reply(await gateway_of(request).ask(LIST_AUDIT, asked))


@get(
    "/api/audit/verify",
    opt=declare(
        Operation(
            access=Scope.AUDIT_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="Ask whether the log is as it was written",
            description=(
                "Each entry holds the hash of the one before it. Keep `head_number` and `head_hash`: a log "
                "that was written anew as a whole does not have them any more."
            ),
            replies={200: AuditVerdict},
        )
    ),
)
async def verify_audit(request: Call) -> Response[bytes]:
    """Answer whether the chain of the log holds."""
    asked = VerifyAudit(_log_of(request))
    return reply(await gateway_of(request).ask(VERIFY_AUDIT, asked, VERIFY_SECONDS))


def _log_of(request: Call) -> UUID:
    return request.auth.tenant or PLATFORM_TENANT


HANDLERS = [list_audit, verify_audit]
