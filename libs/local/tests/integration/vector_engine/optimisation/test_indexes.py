"""Quarry's payload indexes, most of them mapped from files after a run, answer as they did before it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.local.tests.integration.vector_engine.conftest import Engine
from qdrant_client import AsyncQdrantClient, models

from quarry_common.vectors.schema import PAYLOAD_INDEXES

from .runs import NAME, SIZE, connected, create, optimise

POINTS = 1_200
START = datetime(2026, 1, 1, tzinfo=UTC)
TENANTS = [str(UUID(int=number + 1)) for number in range(3)]
CHANGED = 100
"""The first points, which change after the run: they are told apart from those in the files."""


def payload(key: int) -> dict[str, object]:
    moment = (START + timedelta(hours=key)).isoformat()
    return {
        "tenant_id": TENANTS[key % 3],
        "document_id": str(UUID(int=1_000 + key // 10)),
        "collection": f"c{key % 4}",
        "doc_type": None if key % 7 == 0 else f"type{key % 7}",
        "tags": [f"tag{key % 5}", f"tag{key % 3}"],
        "external_id": f"external-{key}",
        "source_url": f"https://example.org/{key % 11}",
        "principals": [f"group:{key % 6}"] if key % 2 else [],
        "active": int(key % 9 != 0),
        "restricted": key % 2,
        "version": 1 + key % 3,
        "created_at": moment,
        "updated_at": moment,
    }


def matches(key: str, value: str | int) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


FILTERS: dict[str, models.Condition] = {
    "tenant_id": matches("tenant_id", TENANTS[1]),
    "document_id": matches("document_id", str(UUID(int=1_003))),
    "collection": matches("collection", "c2"),
    "doc_type": models.Filter(
        must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="doc_type"))]
    ),
    "tags": models.FieldCondition(key="tags", match=models.MatchAny(any=["tag4", "tag0"])),
    "external_id": matches("external_id", "external-17"),
    "source_url": matches("source_url", "https://example.org/3"),
    "principals": models.FieldCondition(key="principals", match=models.MatchAny(any=["group:1"])),
    "active": matches("active", 0),
    "restricted": matches("restricted", 1),
    "version": models.FieldCondition(key="version", range=models.Range(lt=3)),
    "created_at": models.FieldCondition(
        key="created_at",
        range=models.DatetimeRange(gte=START + timedelta(hours=50), lt=START + timedelta(hours=90)),
    ),
    "updated_at": models.FieldCondition(
        key="updated_at", range=models.DatetimeRange(gt=START + timedelta(hours=1_000))
    ),
}


async def found(client: AsyncQdrantClient) -> dict[str, set[models.ExtendedPointId]]:
    """Return what each filter finds."""
    each = {}
    for name, condition in FILTERS.items():
        records, _ = await client.scroll(
            NAME, models.Filter(must=[condition]), limit=POINTS, with_payload=False
        )
        each[name] = {record.id for record in records}
    return each


async def test_quarrys_indexes_find_after_a_run_what_they_found_before_it(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        for field, schema in PAYLOAD_INDEXES.items():
            await client.create_payload_index(NAME, field, schema, wait=True)
        points = [
            models.PointStruct(id=key, vector={"dense": [1.0 + key] * SIZE}, payload=payload(key))
            for key in range(POINTS)
        ]
        await client.upsert(NAME, points)
        before = await found(client)
        assert set(before) == set(PAYLOAD_INDEXES)
        assert all(0 < len(ids) < POINTS for ids in before.values())

        assert (await optimise(engine))["optimised"] is True

        assert await found(client) == before

        # A mapped index is only read: what changes afterwards is kept beside it.
        changed = list(range(CHANGED))
        moved = {"tags": ["tag4"], "collection": "c2", "version": 3, "active": 0}
        await client.set_payload(NAME, moved, points=changed)
        after = await found(client)
        for field in ("tags", "collection", "active"):
            assert after[field] == before[field] | set(changed)
        assert after["version"] == before["version"] - set(changed)
