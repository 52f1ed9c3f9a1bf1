"""The audit log of a tenant; with an operator's key and no tenant, that of the installation."""

from typing import Final

from quarry_client import types
from quarry_client.calls.call import Call, get

VERIFY_SECONDS: Final = 60.0
"""To go through a long log."""


def list_audit(
    *,
    action: str | None = None,
    outcome: types.AuditOutcomeName | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[types.AuditPage]:
    """List what was done and what was denied, latest first.

    `action` is one such as `api_key.revoked`, or all that was done to an entity, such as `api_key`.
    """
    return get("/api/audit", types.AuditPage, action=action, outcome=outcome, limit=limit, cursor=cursor)


def verify_audit() -> Call[types.AuditVerdict]:
    """Ask whether the log is as it was written."""
    path = "/api/audit/verify"
    return Call("GET", path, types.AuditVerdict, repeatable=True, extra_seconds=VERIFY_SECONDS)
