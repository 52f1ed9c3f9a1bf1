"""The four points of the contract, and what is asked about them."""

import math

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
