"""Deleted documents are gone at once; a document that changes is always found, in one version at a time."""

import asyncio
from uuid import UUID

import pytest
from tests.platform import Platform, Tenant, until

from quarry_client.types import MODES, Mode

LONG = "\n\n".join(f"Ledger entry {n}: the brass telescope was polished and returned." for n in range(400))


async def test_a_deleted_document_is_found_in_no_mode(tenant: Tenant) -> None:
    kept = await tenant.put("kept", "The brass telescope stands in the attic.")
    gone = await tenant.put("gone", "The brass telescope stands in the cellar.")
    for mode in MODES:
        found = {result.document_id for result in (await tenant.search("brass telescope", mode=mode)).results}
        assert found == {kept.document_id, gone.document_id}

    await tenant.client.delete_document(gone.document_id)

    for mode in MODES:
        found = {result.document_id for result in (await tenant.search("brass telescope", mode=mode)).results}
        assert found == {kept.document_id}, mode
    assert (await tenant.http.get(f"/api/documents/{gone.document_id}")).status_code == 404
    listed = (await tenant.client.list_documents()).documents
    assert [document.id for document in listed] == [kept.document_id]


@pytest.mark.parametrize("mode", MODES)
async def test_a_document_deleted_while_it_is_indexed_is_never_found(mode: Mode, tenant: Tenant) -> None:
    accepted = await tenant.client.put_document("long", content=LONG)

    async def begun() -> bool:
        return (await tenant.client.get_job(accepted.job_id)).state != "queued"

    await until(begun, 30, "the job has begun")
    await tenant.client.delete_document(accepted.document_id)

    job = await tenant.finished(accepted.job_id, 5)
    assert job.state == "cancelled"
    assert (await tenant.search("brass telescope", mode=mode)).results == []


async def test_a_deleted_document_leaves_nothing_in_any_store(platform: Platform, tenant: Tenant) -> None:
    job = await tenant.put("a", "Nothing of this remains.")
    embedder_id = (await tenant.client.get_collection("default")).embedder_id
    blobs = platform.layout.blobs

    def files() -> list[str]:
        return [path.name for path in blobs.rglob("*") if path.is_file() and str(tenant.id) in str(path)]

    assert files()
    await tenant.client.delete_document(job.document_id)

    async with platform.index(embedder_id) as index, platform.database() as database:

        async def purged() -> bool:
            versions = await database.fetchval(
                "SELECT count(*) FROM indexer.versions WHERE tenant_id = $1", tenant.id
            )
            chunks = await database.fetchval(
                "SELECT count(*) FROM indexer.chunks WHERE tenant_id = $1", tenant.id
            )
            return not (versions or chunks or files() or await index.count(tenant.id))

        await until(purged, 30, "rows, files and points are purged")


async def test_the_same_external_id_may_come_back_after_a_deletion(tenant: Tenant) -> None:
    first = await tenant.put("a", "The first life.")
    await tenant.client.delete_document(first.document_id)

    second = await tenant.put("a", "The second life.")

    assert second.document_id == first.document_id
    found = (await tenant.search("life", mode="keyword")).results
    assert [result.text for result in found] == ["The second life."]


async def test_no_answer_mixes_two_versions_of_a_document_or_misses_it(tenant: Tenant) -> None:
    def content(version: int) -> str:
        paragraphs = (f"Walrus census {version}, district {n}." + " More was noted." * 40 for n in range(5))
        return "\n\n".join(paragraphs)

    await tenant.put("census", content(0))
    done = asyncio.Event()
    seen: set[int] = set()
    answers = 0

    async def search(mode: Mode, *, grouped: bool) -> None:
        nonlocal answers
        while not done.is_set():
            answer = await tenant.search("walrus census", mode=mode, limit=50, group_by_document=grouped)
            versions = {result.version for result in answer.results}
            assert len(versions) == 1, f"{mode}: versions {versions} in one answer of {len(answer.results)}"
            texts = {result.text.split(",")[0] for result in answer.results if "census" in result.text}
            assert len(texts) <= 1, texts
            seen.update(versions)
            answers += 1

    async def change() -> None:
        try:
            for version in range(1, 7):
                await tenant.put("census", content(version))
        finally:
            done.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        for mode in MODES:
            group.create_task(search(mode, grouped=False))
            group.create_task(search(mode, grouped=True))

    final = await tenant.search("walrus census")
    assert {result.version for result in final.results} == {7}
    assert len(seen) > 2
    assert answers > 20


async def test_competing_writers_of_one_external_id_agree_on_one_document(tenant: Tenant) -> None:
    texts = [f"Writer {n} says so." for n in range(8)]

    accepted = await asyncio.gather(*(tenant.client.put_document("shared", content=text) for text in texts))
    jobs = await asyncio.gather(*(tenant.finished(each.job_id) for each in accepted))

    assert len({each.document_id for each in accepted}) == 1
    assert sorted(each.version for each in accepted) == list(range(1, 9))
    assert {job.state for job in jobs} <= {"succeeded", "cancelled"}
    newest = next(index for index, each in enumerate(accepted) if each.version == 8)
    found = (await tenant.search("writer says", mode="keyword")).results
    assert [(result.version, result.text) for result in found] == [(8, texts[newest])]


async def test_deleting_a_collection_makes_its_documents_unfindable(tenant: Tenant) -> None:
    await tenant.client.create_collection("archive")
    await tenant.put("kept", "The marble staircase of the museum.")
    job = await tenant.put("gone", "The marble staircase of the palace.", collection="archive")

    await tenant.client.delete_collection("archive")

    for mode in MODES:
        found = [result.external_id for result in (await tenant.search("marble", mode=mode)).results]
        assert found == ["kept"]
    assert (await tenant.http.get(f"/api/documents/{UUID(str(job.document_id))}")).status_code == 404
    assert (await tenant.http.get("/api/collections/archive")).status_code == 404
