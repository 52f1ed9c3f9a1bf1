"""How endpoints have done: of a tenant's endpoint, and of all for the operator."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from quarry_common import cursors
from quarry_common.contracts.webhooks import Overview, OverviewPage, Stats, StatsOf, TenantEndpoint
from quarry_common.errors import FieldError, ValidationError
from quarry_common.postgres.pool import Database
from quarry_webhooks.domain.stats import summed
from quarry_webhooks.handlers import bounded
from quarry_webhooks.handlers.endpoints import require
from quarry_webhooks.repository import stats as repository
from quarry_webhooks.repository.stats import Place

_LIST = "webhooks-of-all"


class StatsHandlers:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_endpoint(self, request: StatsOf) -> Stats:
        """Return the present hour of an endpoint and those before it. Raises `NotFoundError`."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        since = hour - timedelta(hours=request.hours - 1)
        async with self._database.tenant_transaction(request.ref.tenant_id) as connection:
            await require(connection, request.ref)
            return summed(since, await repository.hours(connection, request.ref.endpoint_id, since))

    async def overview(self, request: Overview) -> OverviewPage:
        """Return what waits over all tenants, and a page of endpoints, those in trouble first."""
        limit, after = bounded(request.limit), _place(request.cursor)
        async with self._database.worker_transaction() as worker:
            backlog = await repository.backlog(worker)
            page = await repository.overview(worker, after, limit + 1, only_failing=request.only_failing)
        return OverviewPage(
            backlog.pending,
            backlog.held,
            backlog.oldest_due_at,
            [TenantEndpoint(each.tenant_id, each.endpoint) for each in page[:limit]],
            _cursor(page[limit - 1]) if len(page) > limit else None,
        )


def _cursor(last: repository.Placed) -> str:
    return cursors.encode(_LIST, f"{int(last.troubled)}.{last.endpoint.id}")


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    troubled, _, endpoint_id = cursors.decode(_LIST, cursor).partition(".")
    try:
        return Place({"0": False, "1": True}[troubled], UUID(endpoint_id))
    except (KeyError, ValueError):
        message = "is not a cursor of this list; use `next_cursor` of the answer before, unchanged"
        raise ValidationError("The cursor is not valid.", errors=[FieldError("cursor", message)]) from None
