"""What Quarry relies on, said once for the embedded engine and for a Qdrant server.

Run it against a server by naming that in `QDRANT_TEST_URL`; docs/vector-engine.md shows how.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

UUID_ID = "6f0d9d4e-5d0c-5f3e-9b1a-6a7f2c1e8b55"

VECTORS = {
    1: [1.0, 0.0, 0.0, 0.0],
    2: [0.6, 0.8, 0.0, 0.0],
    3: [0.0, 1.0, 0.0, 0.0],
    4: [0.0, 0.0, 1.0, 0.0],
}
TERMS = {
    1: {10: 1.0, 20: 2.0},
    2: {20: 1.0},
    3: {20: 0.5, 30: 1.0},
    4: {30: 2.0},
}
PAYLOADS: dict[int, dict[str, object]] = {
    1: {"tenant": "a", "n": 1, "price": 1.5, "active": True, "at": "2024-01-01T00:00:00Z",
        "tags": ["x", "y"]},
    2: {"tenant": "a", "n": 2, "price": 2.5, "active": False, "at": "2024-02-01T00:00:00Z", "tags": ["y"]},
    3: {"tenant": "a", "n": 3, "price": 3.5, "active": True, "at": "2024-03-01T00:00:00Z", "tags": []},
    4: {"tenant": "b", "n": 4, "price": 4.5, "active": True, "at": "2024-04-01T00:00:00Z", "gone": None,
        "parts": [{"k": 1, "v": 2}, {"k": 3, "v": 4}]},
}  # fmt: skip
INDEXES: dict[str, models.KeywordIndexParams | models.IntegerIndexParams | models.PayloadSchemaType] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "n": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True),
    "price": models.PayloadSchemaType.FLOAT,
    "active": models.PayloadSchemaType.BOOL,
    "at": models.PayloadSchemaType.DATETIME,
    "tags": models.PayloadSchemaType.KEYWORD,
}


def sparse(terms: dict[int, float]) -> models.SparseVector:
    return models.SparseVector(indices=list(terms), values=list(terms.values()))


def equals(key: str, value: str | int | bool) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def within(key: str, **bounds: object) -> models.FieldCondition:
    kind = models.DatetimeRange if key == "at" else models.Range
    return models.FieldCondition(key=key, range=kind.model_validate(bounds))


TENANT_A = models.Filter(must=[equals("tenant", "a")])


def idf(documents: int, with_term: int) -> float:
    """Qdrant's IDF of a term that `with_term` of `documents` points have."""
    return math.log((documents - with_term + 0.5) / (with_term + 0.5) + 1.0)


@pytest.fixture
async def empty(client: AsyncQdrantClient, new_name: Callable[[], str]) -> str:
    """A collection with a dense and an IDF-weighted sparse vector."""
    name = new_name()
    await client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=16, ef_construct=64),
    )
    return name


@pytest.fixture
async def filled(client: AsyncQdrantClient, empty: str) -> str:
    """The collection with payload indexes and four points."""
    for field, schema in INDEXES.items():
        await client.create_payload_index(empty, field, schema, wait=True)
    await client.upsert(
        empty,
        [
            models.PointStruct(
                id=key, vector={"dense": VECTORS[key], "bm25": sparse(TERMS[key])}, payload=PAYLOADS[key]
            )
            for key in VECTORS
        ],
        wait=True,
    )
    return empty


async def matching(
    client: AsyncQdrantClient, name: str, *must: models.Condition, **clauses: object
) -> list[models.ExtendedPointId]:
    wanted = models.Filter.model_validate({"must": list(must) or None, **clauses})
    records, _ = await client.scroll(name, scroll_filter=wanted, limit=100)
    return sorted(record.id for record in records)


async def payload_of(client: AsyncQdrantClient, name: str, key: int | str) -> dict[str, object] | None:
    return (await client.retrieve(name, [key]))[0].payload


async def status_of(call: object) -> tuple[int, str]:
    with pytest.raises(UnexpectedResponse) as refused:
        await call  # type: ignore[misc]
    assert refused.value.status_code is not None
    return refused.value.status_code, refused.value.structured()["status"]["error"]


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


class TestFilters:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (equals("tenant", "a"), [1, 2, 3]),
            (equals("n", 2), [2]),
            (equals("active", True), [1, 3, 4]),
            (equals("active", False), [2]),
            (equals("tags", "y"), [1, 2]),
            (models.FieldCondition(key="tags", match=models.MatchAny(any=["x", "z"])), [1]),
            (models.FieldCondition(key="n", match=models.MatchAny(any=[1, 4])), [1, 4]),
            (models.FieldCondition(key="n", match=models.MatchExcept(**{"except": [1, 4]})), [2, 3]),
            (within("n", gt=1, lte=3), [2, 3]),
            (within("price", gte=2.5, lt=4.5), [2, 3]),
            (within("at", gte="2024-02-01T00:00:00Z", lt="2024-04-01T00:00:00+00:00"), [2, 3]),
            (models.FieldCondition(key="tags", values_count=models.ValuesCount(gte=1)), [1, 2]),
            (models.FieldCondition(key="gone", is_null=True), [4]),
            (models.FieldCondition(key="parts", is_empty=False), [4]),
            (models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")), [3, 4]),
            (models.IsNullCondition(is_null=models.PayloadField(key="gone")), [4]),
            (models.HasIdCondition(has_id=[1, 4, 99]), [1, 4]),
            (models.HasVectorCondition(has_vector="bm25"), [1, 2, 3, 4]),
            (
                models.NestedCondition(
                    nested=models.Nested(
                        key="parts", filter=models.Filter(must=[equals("k", 1), equals("v", 2)])
                    )
                ),
                [4],
            ),
            (
                models.NestedCondition(
                    nested=models.Nested(
                        key="parts", filter=models.Filter(must=[equals("k", 1), equals("v", 4)])
                    )
                ),
                [],
            ),
            (models.Filter(should=[equals("n", 1), equals("n", 2)], must_not=[equals("n", 2)]), [1]),
            (
                models.Filter(
                    min_should=models.MinShould(
                        conditions=[equals("tenant", "a"), equals("active", True), equals("n", 3)],
                        min_count=2,
                    )
                ),
                [1, 3],
            ),
        ],
    )
    async def test_condition(
        self, client: AsyncQdrantClient, filled: str, condition: models.Condition, expected: list[int]
    ) -> None:
        assert await matching(client, filled, condition) == expected

    async def test_clauses_combine(self, client: AsyncQdrantClient, filled: str) -> None:
        found = await matching(
            client,
            filled,
            equals("tenant", "a"),
            should=[equals("n", 1), equals("n", 4)],
            must_not=[equals("n", 2)],
        )

        assert found == [1]


class TestQueries:
    async def test_dense_scores_are_cosines(self, client: AsyncQdrantClient, filled: str) -> None:
        query = np.array([3.0, 4.0, 1.0, 0.0])
        cosines = {key: float(query @ vector / np.linalg.norm(query)) for key, vector in VECTORS.items()}

        found = await client.query_points(filled, query=query.tolist(), using="dense", with_payload=False)

        assert [point.id for point in found.points] == [2, 3, 1, 4]
        assert [point.score for point in found.points] == pytest.approx(
            [cosines[key] for key in (2, 3, 1, 4)], abs=1e-5
        )
        assert [point.payload for point in found.points] == [None] * 4

    async def test_sparse_scores_are_weighted_by_idf(self, client: AsyncQdrantClient, filled: str) -> None:
        found = await client.query_points(filled, query=sparse({20: 1.0, 30: 0.5}), using="bm25")

        twenty, thirty = idf(4, 3), 0.5 * idf(4, 2)
        expected = {1: 2.0 * twenty, 2: twenty, 3: 0.5 * twenty + thirty, 4: 2.0 * thirty}
        assert {point.id: point.score for point in found.points} == pytest.approx(expected, abs=1e-4)

    async def test_idf_is_taken_over_the_corpus_named(self, client: AsyncQdrantClient, filled: str) -> None:
        others = [
            models.PointStruct(id=key, vector={"bm25": sparse({30: 1.0})}, payload={"tenant": "b"})
            for key in range(100, 150)
        ]
        await client.upsert(filled, others)
        corpus = models.SearchParams(idf=models.IdfCorpusParams(corpus=TENANT_A))

        found = await client.query_points(
            filled,
            query=sparse({20: 1.0, 30: 1.0}),
            using="bm25",
            query_filter=TENANT_A,
            search_params=corpus,
        )
        everywhere = await client.query_points(
            filled, query=sparse({30: 1.0}), using="bm25", query_filter=TENANT_A
        )

        twenty, thirty = idf(3, 3), idf(3, 1)
        expected = {1: 2.0 * twenty, 2: twenty, 3: 0.5 * twenty + thirty}
        assert {point.id: point.score for point in found.points} == pytest.approx(expected, abs=1e-4)
        assert {point.id: point.score for point in everywhere.points} == pytest.approx(
            {3: idf(54, 52)}, abs=1e-4
        )

    async def test_a_deleted_point_leaves_the_corpus(self, client: AsyncQdrantClient, filled: str) -> None:
        await client.delete(filled, [3])
        corpus = models.SearchParams(idf=models.IdfCorpusParams(corpus=TENANT_A))

        found = await client.query_points(
            filled, query=sparse({20: 1.0}), using="bm25", query_filter=TENANT_A, search_params=corpus
        )

        assert {point.id: point.score for point in found.points} == pytest.approx(
            {1: 2.0 * idf(2, 2), 2: idf(2, 2)}, abs=1e-4
        )

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (
                models.FusionQuery(fusion=models.Fusion.RRF),
                {1: 1 / 2 + 1 / 2, 2: 1 / 3 + 1 / 3, 3: 1 / 4 + 1 / 4},
            ),
            (models.RrfQuery(rrf=models.Rrf(k=60)), {1: 2 / 60, 2: 2 / 61, 3: 2 / 62}),
            (
                models.RrfQuery(rrf=models.Rrf(k=60, weights=[3.0, 1.0])),
                {
                    key: 1 / ((rank + 1) / 3 + 59) + 1 / ((rank + 1) / 1 + 59)
                    for rank, key in enumerate((1, 2, 3))
                },
            ),
        ],
    )
    async def test_reciprocal_rank_fusion(
        self, client: AsyncQdrantClient, filled: str, query: models.Query, expected: dict[int, float]
    ) -> None:
        found = await client.query_points(
            filled,
            prefetch=[
                models.Prefetch(query=[1.0, 0.1, 0.0, 0.0], using="dense", limit=3),
                models.Prefetch(query=sparse({20: 1.0}), using="bm25", limit=3),
            ],
            query=query,
        )

        assert {point.id: point.score for point in found.points} == pytest.approx(expected, abs=1e-6)
        assert [point.id for point in found.points] == [1, 2, 3]

    async def test_distribution_based_fusion(self, client: AsyncQdrantClient, filled: str) -> None:
        prefetch = [
            models.Prefetch(query=[1.0, 0.1, 0.0, 0.0], using="dense", limit=3),
            models.Prefetch(query=sparse({20: 1.0}), using="bm25", limit=3),
        ]

        found = await client.query_points(
            filled, prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.DBSF)
        )

        expected: dict[object, float] = {}
        for stage in prefetch:
            legs = await client.query_points(filled, query=stage.query, using=stage.using, limit=3)
            scores = np.array([point.score for point in legs.points])
            mean, deviation = scores.mean(), scores.std(ddof=1)
            for point in legs.points:
                part = (point.score - (mean - 3 * deviation)) / (6 * deviation)
                expected[point.id] = expected.get(point.id, 0.0) + float(part)
        assert {point.id: point.score for point in found.points} == pytest.approx(expected, abs=1e-4)

    async def test_prefetch_nests_and_filters(self, client: AsyncQdrantClient, filled: str) -> None:
        fused = models.Prefetch(
            prefetch=[
                models.Prefetch(query=[0.0, 0.0, 1.0, 0.0], using="dense", filter=TENANT_A, limit=10),
                models.Prefetch(query=sparse({20: 1.0, 30: 1.0}), using="bm25", filter=TENANT_A, limit=2),
            ],
            query=models.FusionQuery(fusion=models.Fusion.RRF),
            limit=2,
        )

        found = await client.query_points(filled, prefetch=fused, query=[0.0, 1.0, 0.0, 0.0], using="dense")

        assert len(found.points) == 2
        assert {point.id for point in found.points} < {1, 2, 3}

    async def test_the_outer_filter_reaches_into_prefetches(
        self, client: AsyncQdrantClient, filled: str
    ) -> None:
        found = await client.query_points(
            filled,
            prefetch=[models.Prefetch(query=[0.0, 0.0, 1.0, 0.0], using="dense", limit=1)],
            query=models.FusionQuery(fusion=models.Fusion.RRF),
            query_filter=models.Filter(must=[equals("n", 1)]),
        )

        assert [point.id for point in found.points] == [1]

    async def test_threshold_limit_offset(self, client: AsyncQdrantClient, filled: str) -> None:
        above = await client.query_points(
            filled, query=[1.0, 0.0, 0.0, 0.0], using="dense", score_threshold=0.5
        )
        second = await client.query_points(
            filled, query=[1.0, 0.0, 0.0, 0.0], using="dense", limit=1, offset=1
        )

        assert [point.id for point in above.points] == [1, 2]
        assert [point.id for point in second.points] == [2]

    async def test_exact_and_ef_are_accepted(self, client: AsyncQdrantClient, filled: str) -> None:
        for params in (models.SearchParams(exact=True), models.SearchParams(hnsw_ef=64, indexed_only=False)):
            found = await client.query_points(
                filled, query=VECTORS[4], using="dense", search_params=params, limit=1
            )
            assert [point.id for point in found.points] == [4]

    async def test_payload_and_vectors_are_selected(self, client: AsyncQdrantClient, filled: str) -> None:
        async def one(**wanted: object) -> models.ScoredPoint:
            found = await client.query_points(filled, query=VECTORS[4], using="dense", limit=1, **wanted)  # type: ignore[arg-type]
            return found.points[0]

        assert (await one(with_payload=True)).payload == PAYLOADS[4]
        assert (await one(with_payload=["n", "tenant"])).payload == {"n": 4, "tenant": "b"}
        include = models.PayloadSelectorInclude(include=["n"])
        assert (await one(with_payload=include)).payload == {"n": 4}
        exclude = models.PayloadSelectorExclude(exclude=["n", "parts", "price", "at", "gone"])
        assert (await one(with_payload=exclude)).payload == {"tenant": "b", "active": True}
        assert (await one(with_vectors=["bm25"])).vector == {"bm25": sparse(TERMS[4])}
        assert (await one(with_vectors=True)).vector == {"dense": VECTORS[4], "bm25": sparse(TERMS[4])}

    async def test_a_batch_answers_in_its_order(self, client: AsyncQdrantClient, filled: str) -> None:
        answers = await client.query_batch_points(
            filled,
            [
                models.QueryRequest(query=VECTORS[key], using="dense", limit=1, with_payload=["n"])
                for key in (4, 3, 1, 3, 4, 1)
            ],
        )

        assert [[point.id for point in answer.points] for answer in answers] == [[4], [3], [1], [3], [4], [1]]
        assert answers[0].points[0].payload == {"n": 4}

    async def test_a_query_may_order_by_a_field(self, client: AsyncQdrantClient, filled: str) -> None:
        query = models.OrderByQuery(order_by=models.OrderBy(key="n", direction=models.Direction.DESC))
        found = await client.query_points(filled, query=query, limit=3)

        assert [point.id for point in found.points] == [4, 3, 2]


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


class TestRefusals:
    """Wrong input is the client's error, says what is wrong, and changes nothing."""

    async def test_vectors_that_do_not_fit(self, client: AsyncQdrantClient, filled: str) -> None:
        good = models.PointStruct(id=100, vector={"dense": VECTORS[1]})
        wrong: list[dict[str, object]] = [
            {"dense": [1.0, 2.0]},
            {"other": VECTORS[1]},
            {"bm25": VECTORS[1]},
            {"dense": sparse({1: 1.0})},
            {"bm25": models.SparseVector(indices=[1, 2], values=[1.0])},
            {"bm25": models.SparseVector(indices=[1, 1], values=[1.0, 2.0])},
        ]
        for vector in wrong:
            bad = models.PointStruct(id=101, vector=vector)  # type: ignore[arg-type]
            status, _ = await status_of(client.upsert(filled, [good, bad]))
            assert 400 <= status < 500, vector

        assert await client.retrieve(filled, [101]) == []

    async def test_queries_that_cannot_be_answered(self, client: AsyncQdrantClient, filled: str) -> None:
        fusion = models.FusionQuery(fusion=models.Fusion.RRF)
        stage = models.Prefetch(query=VECTORS[1], using="dense", limit=1)
        for call in (
            client.query_points(filled, query=[1.0], using="dense"),
            client.query_points(filled, query=VECTORS[1], using="other"),
            client.query_points(filled, query=VECTORS[1]),
            client.query_points(filled, query=sparse({1: 1.0}), using="dense"),
            client.query_points(filled, query=fusion),
            client.query_points(
                filled, prefetch=[stage], query=models.RrfQuery(rrf=models.Rrf(weights=[1.0, 2.0]))
            ),
            client.query_points(filled, prefetch=[stage], query=models.RrfQuery(rrf=models.Rrf(k=0))),
            client.facet(filled, "unindexed"),
            client.scroll(filled, order_by="tags"),
            client.scroll(filled, offset="not-a-uuid"),
        ):
            status, error = await status_of(call)
            assert 400 <= status < 500
            assert error
