"""Points that follow what is said of their document."""

from uuid import UUID

from quarry_common.postgres.pool import Connection
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.repository import changes, documents


async def follow(connection: Connection, index: VectorIndex, tenant_id: UUID, document_id: UUID) -> None:
    """Give the points of a document's searchable version what its row says, holding the document.

    A version that is being indexed follows when it is activated.
    """
    row = await documents.lock(connection, document_id)
    if row is not None and row.current_version is not None:
        change = await changes.present(connection, document_id, row.current_version)
        if change is not None:
            await index.update_payload(tenant_id, (document_id, row.current_version), change)
    await changes.settle(connection, document_id)
