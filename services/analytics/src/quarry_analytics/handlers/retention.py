"""How long a tenant's searches are kept."""

from quarry_analytics.repository import retention
from quarry_common.contracts.analytics import Retention, RetentionOf
from quarry_common.errors import FieldError, ValidationError
from quarry_common.postgres.pool import Database


class RetentionHandlers:
    """Answers and changes how long searches are kept."""

    def __init__(self, database: Database, longest_days: int) -> None:
        """`longest_days` is what the installation keeps; no tenant's are kept longer."""
        self._database = database
        self._longest_days = longest_days

    async def get(self, asked: RetentionOf) -> Retention:
        """Return it; None is as long as the installation keeps them."""
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            return Retention(asked.tenant_id, await retention.retention_of(connection, asked.tenant_id))

    async def set(self, wanted: Retention) -> Retention:
        """Change it; what is too old then goes within an hour. Raises `ValidationError`."""
        if wanted.days is not None and wanted.days > self._longest_days:
            message = f"must be at most {self._longest_days}, as long as this installation keeps searches"
            raise ValidationError("Searches cannot be kept so long.", errors=[FieldError("days", message)])
        async with self._database.tenant_transaction(wanted.tenant_id) as connection:
            await retention.set_retention(connection, wanted.tenant_id, wanted.days)
        return wanted
