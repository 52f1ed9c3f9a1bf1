"""A tenant's points in the collections of all embedders, also of those that ran before: for its purge."""

from typing import Final
from uuid import UUID

from qdrant_client import models

from quarry_common.vectors import filters
from quarry_common.vectors.connection import READ_SECONDS, WRITE_SECONDS, Qdrant, call
from quarry_common.vectors.errors import EmbedderMismatchError
from quarry_common.vectors.schema import PREFIX

ALL: Final = "all"
"""Collections that a call is about, where it is not about one."""


class TenantPoints:
    """The points of tenants in one Qdrant. Raises as `VectorIndex` does."""

    def __init__(self, qdrant: Qdrant) -> None:
        self._client = qdrant.client

    async def count(self, tenant_id: UUID) -> int:
        """Return how many points a tenant has, exactly."""
        return sum([await self._count(name, tenant_id) for name in await self._collections()])

    async def delete(self, tenant_id: UUID, limit: int) -> int:
        """Delete up to `limit` of a tenant's points; return how many, and none only when none is left."""
        for name in await self._collections():
            ids = await self._some(name, tenant_id, limit)
            if ids:
                chosen = models.Filter(must=[*filters.tenant(tenant_id), models.HasIdCondition(has_id=ids)])
                asked = self._client.delete(
                    name, points_selector=models.FilterSelector(filter=chosen), wait=True
                )
                await call("delete", name, asked, seconds=WRITE_SECONDS)
                return len(ids)
        return 0

    async def _collections(self) -> list[str]:
        listed = await call("get_collections", ALL, self._client.get_collections(), seconds=READ_SECONDS)
        return sorted(found.name for found in listed.collections if found.name.startswith(PREFIX))

    async def _count(self, name: str, tenant_id: UUID) -> int:
        chosen = models.Filter(must=filters.tenant(tenant_id))
        asked = self._client.count(name, count_filter=chosen, exact=True)
        try:
            return (await call("count", name, asked, seconds=READ_SECONDS)).count
        except EmbedderMismatchError:  # the collection was dropped since it was listed
            return 0

    async def _some(self, name: str, tenant_id: UUID, limit: int) -> list[models.ExtendedPointId]:
        asked = self._client.scroll(
            name,
            scroll_filter=models.Filter(must=filters.tenant(tenant_id)),
            limit=limit,
            with_payload=False,
            with_vectors=False,
        )
        try:
            records, _ = await call("scroll", name, asked, seconds=READ_SECONDS)
        except EmbedderMismatchError:  # the collection was dropped since it was listed
            return []
        return [record.id for record in records]
