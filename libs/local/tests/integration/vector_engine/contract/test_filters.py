"""The contract with the vector engine, embedded or a Qdrant server: which points a filter lets through.

This folder runs against a server that `QDRANT_TEST_URL` names; docs/vector-engine.md shows how.
"""

import pytest
from qdrant_client import AsyncQdrantClient, models

from .points import equals, matching, within


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
