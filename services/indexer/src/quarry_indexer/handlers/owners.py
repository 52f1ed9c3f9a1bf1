"""Whose a document or a job is, for the audit of attempts on foreign ids."""

from quarry_common.contracts.audit import Owners, OwnersOf
from quarry_common.postgres.pool import Database
from quarry_indexer.repository import jobs


class Ownership:
    """Answers whose an id is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owners(self, request: OwnersOf) -> Owners:
        """Return the tenants to which ids belong, of documents and jobs."""
        # As the worker role, which sees the jobs of every tenant: which tenant it is, is the question.
        async with self._database.worker_transaction() as connection:
            found = await jobs.owners(connection, request.ids)
        return Owners({str(identity): tenant_id for identity, tenant_id in found.items()})
