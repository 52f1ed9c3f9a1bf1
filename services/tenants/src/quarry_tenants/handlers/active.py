"""The tenant for which something is made."""

from uuid import UUID

from quarry_common.contracts.tenancy import Tenant, TenantState
from quarry_common.errors import ForbiddenError, NotFoundError
from quarry_common.postgres.pool import Connection
from quarry_tenants.repository import tenants


async def active(connection: Connection, tenant_id: UUID) -> Tenant:
    """Return the tenant, for which nobody else makes anything until the transaction ends.

    Raises `NotFoundError`, and `ForbiddenError` when it is not active.
    """
    tenant = await tenants.lock(connection, tenant_id)
    if tenant is None:
        raise NotFoundError("There is no such tenant.")
    if tenant.state is not TenantState.ACTIVE:
        raise ForbiddenError(
            f"The tenant {tenant.slug} is disabled.", advice="Ask the operator of this installation."
        )
    return tenant
