"""The contract with the vector engine, embedded or a Qdrant server: reading by pages, counting.

This folder runs against a server that `QDRANT_TEST_URL` names; docs/vector-engine.md shows how.
"""

from datetime import UTC, datetime
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from .points import TENANT_A, UUID_ID, VECTORS


class TestReading:
    async def test_scroll_pages_through_everything_once(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.upsert(
            filled, [models.PointStruct(id=UUID_ID, vector={"dense": VECTORS[1]}, payload={})]
        )
        seen: list[object] = []
        offset = None
        while True:
            records, offset = await client.scroll(filled, limit=2, offset=offset, with_payload=False)
            seen.extend(record.id for record in records)
            if offset is None:
                break

        assert seen == [1, 2, 3, 4, UUID_ID]
        assert isinstance(UUID(str(seen[-1])), UUID)

    async def test_scroll_of_more_than_a_piece(self, client: AsyncQdrantClient, empty: str) -> None:
        points = [models.PointStruct(id=key, vector={"dense": VECTORS[1]}) for key in range(1300)]
        await client.upsert(empty, points)

        records, offset = await client.scroll(empty, limit=1200)

        assert [record.id for record in records] == list(range(1200))
        assert offset == 1200

    async def test_scroll_orders_by_a_field(self, client: AsyncQdrantClient, filled: str) -> None:
        order = models.OrderBy(
            key="at", direction=models.Direction.DESC, start_from=datetime(2024, 3, 15, tzinfo=UTC)
        )
        records, _ = await client.scroll(filled, limit=2, order_by=order)

        assert [record.id for record in records] == [3, 2]

    async def test_count(self, client: AsyncQdrantClient, filled: str) -> None:
        assert (await client.count(filled, exact=True)).count == 4
        assert (await client.count(filled, count_filter=TENANT_A, exact=True)).count == 3

    async def test_facet(self, client: AsyncQdrantClient, filled: str) -> None:
        tags = await client.facet(filled, "tags", exact=True)
        active = await client.facet(filled, "active", facet_filter=TENANT_A, exact=True)
        first = await client.facet(filled, "tenant", limit=1, exact=True)

        assert [(hit.value, hit.count) for hit in tags.hits] == [("y", 2), ("x", 1)]
        assert [(hit.value, hit.count) for hit in active.hits] == [(True, 2), (False, 1)]
        assert [(hit.value, hit.count) for hit in first.hits] == [("a", 3)]
