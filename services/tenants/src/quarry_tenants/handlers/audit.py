"""The audit log: written for other services, read, verified."""

from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

import msgspec

from quarry_common import cursors
from quarry_common.contracts.audit import (
    AuditAct,
    AuditPage,
    AuditVerdict,
    Facts,
    ListAudit,
    RecordActs,
    VerifyAudit,
)
from quarry_common.contracts.rpc import Nothing
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.errors import FieldError, ValidationError
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain.audit import Chain
from quarry_tenants.domain.checks import check_limit
from quarry_tenants.repository import audit, receipts, tenants

MAX_ACTS = 500
"""That one request may hold."""
_LIST = "audit"


class Audit:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, request: RecordActs) -> Nothing:
        """Write acts down, those of each tenant in their order, each once however often it comes.

        Each tenant's are written together; when it fails, some tenants' may be written already. A tenant that
        is being purged has no log any more: the platform's tells that something was done, and not what.
        """
        if len(request.acts) > MAX_ACTS:
            raise ValidationError(errors=[FieldError("acts", f"must be at most {MAX_ACTS}")])
        by_tenant = sorted(request.acts, key=lambda act: act.tenant_id)
        for tenant_id, acts in groupby(by_tenant, key=lambda act: act.tenant_id):
            async with self._database.tenant_transaction(tenant_id) as connection:
                if tenant_id == PLATFORM_TENANT or await tenants.hold(connection, tenant_id):
                    await _append(connection, tenant_id, list(acts))
                else:
                    await self._database.become(connection, PLATFORM_TENANT)
                    await _append(connection, PLATFORM_TENANT, [_without_log(act) for act in acts])
        return Nothing()

    async def list(self, request: ListAudit) -> AuditPage:
        """Return a page of a tenant's log, latest entries first."""
        limit = check_limit(request.limit)
        # Postgres cannot be asked for a text with NUL in it.
        if "\0" in (request.action or ""):
            return AuditPage([])
        before = cursors.decode_number(_LIST, request.cursor)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await audit.page(
                connection,
                request.tenant_id,
                before or 2**62,
                limit + 1,
                action=request.action,
                outcome=request.outcome,
            )
        more = cursors.encode_number(_LIST, found[limit - 1].number) if len(found) > limit else None
        return AuditPage(found[:limit], more)

    async def verify(self, request: VerifyAudit) -> AuditVerdict:
        """Go through a tenant's log and return whether every entry follows from the one before it."""
        chain = Chain()
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            async for entry in audit.every(connection, request.tenant_id, after=0):
                chain.follow(entry)
            # What was written meanwhile is looked at while nobody writes on: the log ends where the head is.
            head = await audit.head(connection, request.tenant_id, lock=True)
            async for entry in audit.every(connection, request.tenant_id, after=chain.end.number):
                chain.follow(entry)
        return chain.verdict(head)


def _without_log(act: AuditAct) -> AuditAct:
    whose: Facts = {"tenant_id": str(act.tenant_id)}
    return msgspec.structs.replace(act, tenant_id=PLATFORM_TENANT, before=None, after=whose)


async def _append(connection: Connection, log_of: UUID, acts: Sequence[AuditAct]) -> None:
    new = await receipts.add_all(connection, log_of, [act.id for act in acts if act.id is not None])
    await audit.append(connection, log_of, [act for act in acts if act.id is None or act.id in new])
