"""What no route lets an attacker ask for: what keeps tenants apart in a store, after all before it failed."""

from pathlib import Path

import pytest
from tests.attack.conftest import Attacker, Victim
from tests.attack.judge import faults
from tests.attack.wire import request
from tests.platform import Platform, Tenant, until

from quarry_common.cache.cache import open_cache
from quarry_common.cache.settings import CacheSettings
from quarry_common.contracts.documents import ACCEPT, Accept, Accepted, BlobRef, DocumentFields
from quarry_common.errors import RemoteError
from quarry_common.settings import load

_READABLE = """
    SELECT n.nspname AS service, c.oid::regclass::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE CASE WHEN c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg%'
        THEN has_column_privilege('quarry_' || n.nspname, a.attrelid, a.attnum, 'SELECT') ELSE false END
"""
_TEXT_PATH = "SELECT text_path FROM indexer.versions WHERE document_id = $1"
_SET_TEXT_PATH = "UPDATE indexer.versions SET text_path = $2 WHERE document_id = $1"


def files_of(platform: Platform, victim: Victim, kind: str) -> list[str]:
    """Return the paths of the victim's blobs that hold its secret."""
    root = Path(platform.layout.blobs)
    found = (root / "tenants" / str(victim.tenant.id) / kind).rglob("*")
    return [
        str(path.relative_to(root))
        for path in found
        if path.is_file() and victim.secret.encode() in path.read_bytes()
    ]


async def text_of(tenant: Tenant, taken: Accepted) -> str:
    """Return the text of a document that was taken in, once it is there; the problem when there is none."""
    await tenant.finished(taken.job_id)
    return (await tenant.http.get(f"/api/documents/{taken.document_id}/content")).text


async def test_a_service_sees_no_row_of_another_tenant(
    platform: Platform, attacker: Attacker, victim: Victim
) -> None:
    async with platform.database() as database:
        tables = [(row["service"], row["name"]) for row in await database.fetch(_READABLE)]
        theirs = [
            name
            for _, name in tables
            if await database.fetchval(f"SELECT count(*) FROM {name} WHERE tenant_id = $1", victim.tenant.id)
        ]
        seen = []
        for service, name in tables:
            async with database.transaction():
                await database.execute("SELECT set_config('app.tenant_id', $1, true)", str(attacker.own.id))
                await database.execute(f"SET LOCAL ROLE quarry_{service}")
                foreign = f"SELECT count(*) FROM {name} WHERE tenant_id <> $1"
                seen += [name] if await database.fetchval(foreign, attacker.own.id) else []

    assert {"indexer.documents", "indexer.versions", "indexer.chunks", "tenants.api_keys"} <= set(theirs)
    assert seen == []


async def test_an_answer_that_is_cached_for_a_tenant_is_given_to_no_other(
    attacker: Attacker, victim: Victim
) -> None:
    body = {"query": f"The {victim.secret} of the house", "mode": "keyword"}

    async def cached() -> bool:
        answer = (await victim.tenant.http.post("/api/search", json=body)).json()
        assert victim.ids["document_id"] in {result["document_id"] for result in answer["results"]}
        return bool(answer["cache"] == "hit")

    await until(cached, 20, "the victim's answer is cached")
    await attacker.own.http.post("/api/search", json={**body, "query": "another"})
    answer = (await attacker.own.http.post("/api/search", json=body)).json()

    assert victim.ids["document_id"] not in {result["document_id"] for result in answer["results"]}


async def test_a_value_that_is_cached_for_a_tenant_is_found_for_no_other(
    platform: Platform, attacker: Attacker, victim: Victim
) -> None:
    settings = load(CacheSettings, {"REDIS_URL": platform.plan.shared["REDIS_URL"]})
    kept = victim.secret.encode()

    # Two processes: what the second finds comes from Redis first, then from its memory.
    async with open_cache(settings, "attack") as first, open_cache(settings, "attack") as second:
        await first.set(victim.tenant.id, "key", kept)
        found = [await second.get(attacker.own.id, "key"), await first.get(attacker.own.id, "key")]
        theirs = await second.get(victim.tenant.id, "key")

    assert theirs == kept
    assert found == [None, None]


async def test_a_body_of_another_tenant_is_not_taken_in(
    platform: Platform, attacker: Attacker, victim: Victim
) -> None:
    path = files_of(platform, victim, "uploads")[0]
    asked = Accept(attacker.own.id, DocumentFields(title="Mine"), BlobRef(path, 1, "0" * 64, "mine.txt"))

    async with platform.rpc() as rpc:
        try:
            taken = await rpc.call(ACCEPT, asked)
        except RemoteError as error:
            code, text = error.data.code, ""
        else:
            code, text = "", await text_of(attacker.own, taken)

    assert victim.secret not in text
    assert code == "not_found"


@pytest.mark.parametrize("part", ["content", "chunks"])
async def test_a_row_that_names_a_text_of_another_tenant_does_not_open_it(
    platform: Platform, attacker: Attacker, victim: Victim, part: str
) -> None:
    job = await attacker.own.put(f"mine/{part}", "Mine. " * 20)
    path = files_of(platform, victim, "texts")[0]
    key = {"x-api-key": attacker.own.key}

    async with platform.database() as database:
        own = await database.fetchval(_TEXT_PATH, job.document_id)
        await database.execute(_SET_TEXT_PATH, job.document_id, path)
        answer = await attacker.host.send(request("GET", f"/api/documents/{job.document_id}/{part}", key))
        await database.execute(_SET_TEXT_PATH, job.document_id, own)

    assert path != own
    assert victim.secret not in answer.body.decode()
    assert not faults(answer, {404})
