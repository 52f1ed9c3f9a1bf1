"""The state of the vector index, asked for by the operator."""

from quarry_common.contracts.documents import INSPECT_INDEX, IndexReport, InspectIndex
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_indexer.indexing.inspection import Inspection


class IndexInspection:
    """Answers what is asked of the index."""

    def __init__(self, database: Database, inspection: Inspection) -> None:
        self._database = database
        self._inspection = inspection

    async def inspect(self, request: InspectIndex) -> IndexReport:
        """Return how a tenant's index differs from what Postgres says, and mend it if asked to.

        Under an idempotency key the first report is told again; mending twice does no more than once.
        """
        report = await self._inspection.inspect(request.tenant_id, repair=request.repair)

        async def told(_connection: Connection) -> IndexReport:
            return report

        digest = fingerprint(INSPECT_INDEX.name, request.repair)
        first, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, digest, IndexReport, told
        )
        return first
