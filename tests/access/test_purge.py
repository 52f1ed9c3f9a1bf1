"""A purged tenant is gone from every store, and nobody else is touched."""

import asyncio
from itertools import count
from pathlib import Path

import httpx
import pytest
from tests.platform import Platform, Tenant, until

from quarry_common.contracts.streams import subjects_of_tenant

PURGE_SECONDS = 180.0


async def fill(tenant: Tenant, documents: int) -> None:
    """Give a tenant documents, a key, a search that is cached, and lines in its audit log."""
    batch = [
        {"external_id": f"d{number}", "title": f"Report {number}", "content": f"Heron report {number}."}
        for number in range(documents)
    ]
    answer = await tenant.http.post("/api/documents/batch", json={"documents": batch})
    jobs = [result["job_id"] for result in answer.json()["results"]]
    assert len(jobs) == documents
    await tenant.http.post("/api/keys", json={"name": "second", "role": "reader"})
    await tenant.succeeded(jobs[-1], 240)

    async def all_found() -> bool:
        listed = (await tenant.client.get_collection("default")).document_count
        return listed == documents and not (await tenant.client.list_jobs(state="running")).jobs

    await until(all_found, 240, "every document is indexed")
    for _ in range(2):
        await tenant.search("heron report", mode="keyword")


async def rows_of(platform: Platform, tenant: Tenant) -> dict[str, int]:
    """Return how many rows each table has of a tenant, over all schemas."""
    async with platform.database() as database:
        tables = await database.fetch(
            """
            SELECT c.oid::regclass::text AS name FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
            WHERE c.relkind = 'r' AND c.relpersistence <> 't'
            """
        )
        return {
            table["name"]: await database.fetchval(
                f"SELECT count(*) FROM {table['name']} WHERE tenant_id = $1", tenant.id
            )
            for table in tables
        }


async def footprint(platform: Platform, tenant: Tenant, embedder_id: str) -> dict[str, object]:
    """Return what each store holds of a tenant."""
    async with platform.index(embedder_id) as index:
        points = await index.count(tenant.id)
    folder = Path(platform.layout.blobs) / "tenants" / str(tenant.id)
    blobs = sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
    rows = await rows_of(platform, tenant)
    # What goes on being counted and told while a tenant is in use.
    volatile = {
        *("tenants.receipts", "tenants.outbox", "indexer.outbox", "indexer.turns"),
        *("tenants.search_days", "tenants.key_days"),
        *("webhooks.outbox", "webhooks.turns"),
    }
    return {
        "points": points,
        "blobs": blobs,
        "rows": {
            name: number
            for name, number in rows.items()
            if name not in volatile and not name.startswith("analytics.")
        },
    }


async def cached(platform: Platform, tenant: Tenant) -> set[str]:
    """Return the names of everything that Redis holds of a tenant.

    What stays for a day after a purge is the generation, which tells that what is cached was purged.
    """
    async with platform.redis() as redis:
        found = [key async for key in redis.scan_iter(match=f"*{tenant.id}*", count=1_000)]
    return {key.decode() if isinstance(key, bytes) else key for key in found}


async def messages(platform: Platform, tenant: Tenant) -> dict[str, int]:
    """Return how many messages each stream holds of each subject of a tenant."""
    held: dict[str, int] = {}
    async with platform.bus() as bus:
        jetstream = bus.jetstream(timeout=10)
        there = {info.config.name for info in await jetstream.streams_info()}
        for stream, subject in subjects_of_tenant(tenant.id):
            if stream in there:
                info = await jetstream.stream_info(stream, subjects_filter=subject)
                held |= info.state.subjects or {}
    return held


async def is_cached(platform: Platform, tenant: Tenant) -> None:
    """Return when a search of the tenant is in Redis, where it is put after it was answered.

    Each time another: what was answered before the caches had agreed on a generation stays in memory.
    """
    numbers = count()

    async def entry() -> bool:
        await tenant.search(f"heron report {next(numbers)}", mode="keyword")
        return any(":entry:" in key for key in await cached(platform, tenant))

    await until(entry, 20, "a search is cached in Redis")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "documents", [pytest.param(30, id="short"), pytest.param(500, id="full", marks=pytest.mark.full)]
)
async def test_a_purge_leaves_nothing_of_one_tenant_and_everything_of_the_others(
    platform: Platform, operator: httpx.AsyncClient, documents: int
) -> None:
    async with platform.tenant() as going, platform.tenant() as one, platform.tenant() as other:
        await asyncio.gather(*(fill(tenant, documents) for tenant in (going, one, other)))
        embedder_id = (await one.client.get_collection("default")).embedder_id
        before = {
            tenant.slug: await footprint(platform, tenant, embedder_id) for tenant in (going, one, other)
        }
        tenants = (going, one, other)
        await asyncio.gather(*(is_cached(platform, tenant) for tenant in tenants))
        keys = {tenant.slug: await cached(platform, tenant) for tenant in tenants}
        told = {tenant.slug: await messages(platform, tenant) for tenant in tenants}
        for held in told.values():
            assert sum(held.values()) >= documents
        assert before[going.slug]["points"] >= documents  # type: ignore[operator]
        assert before[going.slug]["rows"]["tenants.api_keys"] == 2  # type: ignore[index]

        answer = await operator.delete(f"/api/admin/tenants/{going.slug}", params={"grace_seconds": 0})
        assert answer.json()["state"] == "deleting"

        async def purged() -> dict[str, object] | None:
            answer = await operator.get(f"/api/admin/tenants/{going.slug}/purge")
            found: dict[str, object] = answer.json()
            return found if answer.status_code == 200 and found["finished_at"] else None

        receipt = await until(purged, PURGE_SECONDS, "the tenant is purged")

        left = await footprint(platform, going, embedder_id)
        assert (left["points"], left["blobs"]) == (0, [])
        rows = await rows_of(platform, going)
        assert {name: number for name, number in rows.items() if number} == {"tenants.purges": 1}
        assert not {key for key in await cached(platform, going) if ":generation:" not in key}
        assert await messages(platform, going) == {}
        for tenant in (one, other):
            assert keys[tenant.slug] <= await cached(platform, tenant)
            held = await messages(platform, tenant)
            # What goes on in them is told, too; of what was there before nothing is missing.
            assert all(held.get(subject, 0) >= number for subject, number in told[tenant.slug].items())
            assert await footprint(platform, tenant, embedder_id) == before[tenant.slug]
            assert (await tenant.search("heron report", mode="keyword")).total > 0
        removed = receipt["removed"]
        assert isinstance(removed, dict)
        assert receipt["verified"] is True
        assert set(receipt["left"].values()) <= {0}  # type: ignore[attr-defined]
        assert removed["vectors.points"] == before[going.slug]["points"]
        assert removed["streams.messages"] >= sum(told[going.slug].values())
        assert removed["cache.entries"] >= 1
        assert removed["blobs.objects"] == len(before[going.slug]["blobs"])  # type: ignore[arg-type]
        for table in ("indexer.documents", "indexer.chunks", "indexer.versions", "indexer.jobs"):
            counted = before[going.slug]["rows"][table]  # type: ignore[index]
            assert removed[f"postgres.{table}"] == counted
        assert removed["postgres.tenants.api_keys"] == 2
        assert (await going.http.get("/api/collections")).status_code == 401
        tenant = (await operator.get(f"/api/admin/tenants/{going.slug}")).json()
        assert tenant["state"] == "purged"
        assert (await operator.post(f"/api/admin/tenants/{going.slug}/restore")).status_code == 409
