"""The contract with the vector engine, embedded or a Qdrant server: how points change.

This folder runs against a server that `QDRANT_TEST_URL` names; docs/vector-engine.md shows how.
"""

import pytest
from qdrant_client import AsyncQdrantClient, models

from .points import (
    PAYLOADS,
    TENANT_A,
    TERMS,
    UUID_ID,
    VECTORS,
    equals,
    matching,
    payload_of,
    sparse,
    status_of,
)


class TestWriting:
    async def test_a_point_comes_back_as_it_was_written(self, client: AsyncQdrantClient, empty: str) -> None:
        payload = {"text": "naïve 日本", "nested": {"list": [1, 2.5, None, True]}, "big": 2**53}
        vector: dict[str, object] = {"dense": [0.6, 0.8, 0.0, 0.0], "bm25": sparse({5: 0.5, 2**32 - 1: 1.5})}
        await client.upsert(empty, [models.PointStruct(id=UUID_ID, vector=vector, payload=payload)])  # type: ignore[arg-type]

        (record,) = await client.retrieve(empty, [UUID_ID, 99], with_vectors=True)

        assert (record.id, record.payload) == (UUID_ID, payload)
        assert isinstance(record.vector, dict)
        assert record.vector["dense"] == pytest.approx([0.6, 0.8, 0.0, 0.0])
        assert record.vector["bm25"] == sparse({5: 0.5, 2**32 - 1: 1.5})

    async def test_the_largest_integer_is_an_id(self, client: AsyncQdrantClient, empty: str) -> None:
        await client.upsert(empty, [models.PointStruct(id=2**64 - 1, vector={"dense": VECTORS[1]})])

        assert [record.id for record in await client.retrieve(empty, [2**64 - 1])] == [2**64 - 1]

    async def test_upsert_replaces_the_whole_point(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.upsert(
            filled, [models.PointStruct(id=1, vector={"dense": VECTORS[4]}, payload={"z": 1})]
        )

        (record,) = await client.retrieve(filled, [1], with_vectors=True)
        assert record.payload == {"z": 1}
        assert record.vector == {"dense": VECTORS[4]}
        assert (await client.count(filled)).count == 4

    async def test_points_may_be_given_as_columns(self, client: AsyncQdrantClient, empty: str) -> None:
        columns = {"dense": [VECTORS[1], VECTORS[3]], "bm25": [sparse(TERMS[1]), sparse(TERMS[3])]}
        batch = models.Batch(ids=[1, 3], vectors=columns, payloads=[{"n": 1}, {"n": 3}])  # type: ignore[arg-type]
        await client.upsert(empty, batch)

        records = await client.retrieve(empty, [1, 3], with_vectors=["bm25"])
        assert [record.payload for record in records] == [{"n": 1}, {"n": 3}]
        assert [record.vector for record in records] == [
            {"bm25": sparse(TERMS[1])},
            {"bm25": sparse(TERMS[3])},
        ]

    async def test_update_modes_only_insert_or_only_update(
        self, client: AsyncQdrantClient, filled: str
    ) -> None:
        points = [
            models.PointStruct(id=key, vector={"dense": VECTORS[1]}, payload={"new": 1}) for key in (1, 9)
        ]
        await client.upsert(filled, points, update_mode=models.UpdateMode.INSERT_ONLY)
        inserted = await matching(client, filled, equals("new", 1))
        await client.upsert(
            filled,
            [models.PointStruct(id=key, vector={"dense": VECTORS[1]}, payload={"new": 2}) for key in (1, 10)],
            update_mode=models.UpdateMode.UPDATE_ONLY,
        )

        assert inserted == [9]
        assert await matching(client, filled, equals("new", 2)) == [1]

    async def test_more_points_than_one_piece_are_all_there(
        self, client: AsyncQdrantClient, empty: str
    ) -> None:
        points = [
            models.PointStruct(id=key, vector={"dense": VECTORS[1]}, payload={"n": key % 2})
            for key in range(1, 1702)
        ]
        await client.upsert(empty, points)
        await client.delete(empty, models.FilterSelector(filter=models.Filter(must=[equals("n", 1)])))

        assert (await client.count(empty)).count == 850

    async def test_without_wait_the_write_is_acknowledged_and_happens(
        self, client: AsyncQdrantClient, filled: str
    ) -> None:
        result = await client.delete(filled, [1], wait=False)
        waited = await client.delete(filled, [2], wait=True)

        assert result.status == models.UpdateStatus.ACKNOWLEDGED
        assert waited.status == models.UpdateStatus.COMPLETED
        assert (await client.count(filled)).count == 2

    async def test_deletes_by_id_and_by_filter(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.delete(filled, [1, 77])
        await client.delete(filled, models.FilterSelector(filter=models.Filter(must=[equals("n", 3)])))

        assert await matching(client, filled) == [2, 4]

    async def test_set_payload_merges(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.set_payload(filled, {"n": 10, "new": "v"}, points=[1])
        await client.set_payload(filled, {"deep": 1}, points=[1], key="at_key")
        await client.set_payload(filled, {"seen": 1}, points=TENANT_A)

        assert await payload_of(client, filled, 1) == {
            **PAYLOADS[1], "n": 10, "new": "v", "seen": 1, "at_key": {"deep": 1},
        }  # fmt: skip
        assert await matching(client, filled, equals("seen", 1)) == [1, 2, 3]
        assert await matching(client, filled, equals("n", 10)) == [1]

    async def test_overwrite_payload_replaces(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.overwrite_payload(filled, {"only": 1}, points=[1])
        await client.overwrite_payload(filled, {"tenant": "c"}, points=models.Filter(must=[equals("n", 4)]))

        assert await payload_of(client, filled, 1) == {"only": 1}
        assert await payload_of(client, filled, 4) == {"tenant": "c"}

    async def test_payload_keys_are_deleted_and_cleared(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.delete_payload(filled, ["tags", "at", "active", "price"], points=[1])
        await client.delete_payload(filled, ["n"], points=models.Filter(must=[equals("n", 2)]))
        await client.clear_payload(filled, points_selector=[3])
        await client.clear_payload(
            filled, points_selector=models.FilterSelector(filter=models.Filter(must=[equals("n", 4)]))
        )

        assert await payload_of(client, filled, 1) == {"tenant": "a", "n": 1}
        assert "n" not in (await payload_of(client, filled, 2) or {})
        assert await payload_of(client, filled, 3) == {}
        assert await payload_of(client, filled, 4) == {}

    async def test_vectors_are_updated_and_deleted(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.update_vectors(filled, [models.PointVectors(id=1, vector={"dense": VECTORS[4]})])
        await client.delete_vectors(filled, ["bm25"], points=[2])

        one, two = await client.retrieve(filled, [1, 2], with_vectors=True)
        assert one.vector == {"dense": VECTORS[4], "bm25": sparse(TERMS[1])}
        assert isinstance(two.vector, dict)
        assert list(two.vector) == ["dense"]

    async def test_a_batch_is_applied_in_its_order(self, client: AsyncQdrantClient, filled: str) -> None:
        def upsert(value: int) -> models.UpsertOperation:
            point = models.PointStruct(id=50, vector={"dense": VECTORS[1]}, payload={"v": value})
            return models.UpsertOperation(upsert=models.PointsList(points=[point]))

        results = await client.batch_update_points(
            filled,
            [
                upsert(1),
                models.SetPayloadOperation(set_payload=models.SetPayload(payload={"w": 1}, points=[50])),
                models.DeleteOperation(delete=models.PointIdsList(points=[50])),
                upsert(2),
                models.SetPayloadOperation(
                    set_payload=models.SetPayload(
                        payload={"x": 1}, filter=models.Filter(must=[equals("v", 2)])
                    )
                ),
                models.DeleteOperation(delete=models.FilterSelector(filter=TENANT_A)),
            ],
        )

        assert [result.status for result in results] == [models.UpdateStatus.COMPLETED] * 6
        assert await payload_of(client, filled, 50) == {"v": 2, "x": 1}
        assert await matching(client, filled) == [4, 50]

    async def test_payload_of_a_missing_point_is_not_found(
        self, client: AsyncQdrantClient, filled: str
    ) -> None:
        status, error = await status_of(client.set_payload(filled, {"a": 1}, points=[777]))

        assert status == 404
        assert "No point with id 777 found" in error
