"""The contract with the vector engine, embedded or a Qdrant server: what is refused.

This folder runs against a server that `QDRANT_TEST_URL` names; docs/vector-engine.md shows how.
"""

from qdrant_client import AsyncQdrantClient, models

from .points import VECTORS, sparse, status_of


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
