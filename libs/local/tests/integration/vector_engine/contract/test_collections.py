"""The contract with the vector engine, embedded or a Qdrant server: collections and their indexes.

This folder runs against a server that `QDRANT_TEST_URL` names; docs/vector-engine.md shows how.
"""

from collections.abc import Callable

from qdrant_client import AsyncQdrantClient, models

from .points import matching, status_of, within


class TestCollections:
    async def test_a_created_collection_is_described(self, client: AsyncQdrantClient, empty: str) -> None:
        info = await client.get_collection(empty)

        assert info.points_count == 0
        vectors = info.config.params.vectors
        assert isinstance(vectors, dict)
        assert (vectors["dense"].size, vectors["dense"].distance) == (4, models.Distance.COSINE)
        assert info.config.params.sparse_vectors is not None
        assert info.config.params.sparse_vectors["bm25"].modifier == models.Modifier.IDF
        hnsw = info.config.hnsw_config
        assert (hnsw.m, hnsw.payload_m, hnsw.ef_construct) == (0, 16, 64)

    async def test_it_exists_and_is_listed_until_it_is_deleted(
        self, client: AsyncQdrantClient, empty: str
    ) -> None:
        listed = {item.name for item in (await client.get_collections()).collections}
        existed = await client.collection_exists(empty)
        deleted = await client.delete_collection(empty)

        assert empty in listed
        assert (existed, deleted) == (True, True)
        assert not await client.collection_exists(empty)
        assert not await client.delete_collection(empty)

    async def test_a_name_that_is_taken_is_a_conflict(self, client: AsyncQdrantClient, empty: str) -> None:
        status, error = await status_of(
            client.create_collection(
                empty, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT)
            )
        )

        assert status == 409
        assert f"Collection `{empty}` already exists!" in error

    async def test_a_missing_collection_is_not_found(self, client: AsyncQdrantClient) -> None:
        for call in (
            client.get_collection("contract-none"),
            client.count("contract-none"),
            client.query_points("contract-none", query=[1.0]),
            client.delete("contract-none", [1]),
            client.create_payload_index("contract-none", "a", models.PayloadSchemaType.KEYWORD),
        ):
            status, error = await status_of(call)
            assert status == 404
            assert "Collection `contract-none` doesn't exist!" in error

    async def test_settings_can_be_changed(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.update_collection(filled, hnsw_config=models.HnswConfigDiff(payload_m=24))

        hnsw = (await client.get_collection(filled)).config.hnsw_config
        assert (hnsw.m, hnsw.payload_m, hnsw.ef_construct) == (0, 24, 64)
        assert (await client.count(filled)).count == 4

    async def test_an_unnamed_vector_is_stored_and_found(
        self, client: AsyncQdrantClient, new_name: Callable[[], str]
    ) -> None:
        name = new_name()
        await client.create_collection(
            name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT)
        )
        await client.upsert(name, [models.PointStruct(id=7, vector=[2.0, 3.0])])

        found = await client.query_points(name, query=[1.0, 10.0], with_vectors=True)

        assert [(point.id, point.score, point.vector) for point in found.points] == [(7, 32.0, [2.0, 3.0])]


class TestPayloadIndexes:
    async def test_indexes_are_described_with_their_settings(
        self, client: AsyncQdrantClient, filled: str
    ) -> None:
        schema = (await client.get_collection(filled)).payload_schema

        assert {name: str(index.data_type.value) for name, index in schema.items()} == {
            "tenant": "keyword", "n": "integer", "price": "float", "active": "bool", "at": "datetime",
            "tags": "keyword",
        }  # fmt: skip
        assert isinstance(schema["tenant"].params, models.KeywordIndexParams)
        assert schema["tenant"].params.is_tenant is True
        assert schema["tenant"].points == 4

    async def test_an_index_can_be_deleted(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.delete_payload_index(filled, "price", wait=True)

        assert "price" not in (await client.get_collection(filled)).payload_schema
        assert await matching(client, filled, within("price", gt=3.0)) == [3, 4]
