"""The contract with the vector engine, embedded or a Qdrant server: what is found, with which scores.

This folder runs against a server that `QDRANT_TEST_URL` names; docs/vector-engine.md shows how.
"""

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models

from .points import PAYLOADS, TENANT_A, TERMS, VECTORS, equals, idf, sparse


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
