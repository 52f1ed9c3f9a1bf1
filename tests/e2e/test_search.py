"""Searches over HTTP: filters by every field, pages, groups, highlights, modes, and scores that hold."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.samples import filler
from tests.platform import Platform, Tenant

from quarry_client.types import MODES, DocumentFields, Filter, Mode

DOCUMENTS: dict[str, DocumentFields] = {
    "red": {
        "doc_type": "report",
        "tags": ["finance", "draft"],
        "metadata": {"year": 2021, "author": "Ada", "approved": False, "ratio": 0.25},
        "source_url": "https://example.org/red",
    },
    "green": {
        "doc_type": "memo",
        "tags": ["legal"],
        "metadata": {"year": 2023, "author": "Grace", "approved": True, "signed": "2023-05-01T12:00:00Z"},
    },
    "blue": {
        "doc_type": "report",
        "tags": ["finance", "legal"],
        "metadata": {"year": 2024, "topics": ["a", "b"]},
    },
}
ALL = {*DOCUMENTS, "archived"}
PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"

FILTERS: dict[str, tuple[Filter, set[str]]] = {
    "doc_type": ({"doc_type": "report"}, {"red", "blue"}),
    "doc_type in": ({"doc_type": ["memo", "note"]}, {"green", "archived"}),
    "doc_type ne": ({"doc_type": {"ne": "report"}}, {"green", "archived"}),
    "tags any": ({"tags": {"any": ["draft", "legal"]}}, {"red", "green", "blue"}),
    "tags all": ({"tags": {"all": ["finance", "legal"]}}, {"blue"}),
    "tags none": ({"tags": {"none": ["finance"]}}, {"green", "archived"}),
    "collection": ({"collection": "archive"}, {"archived"}),
    "external_id": ({"external_id": ["red", "green"]}, {"red", "green"}),
    "source_url": ({"source_url": "https://example.org/red"}, {"red"}),
    "source_url exists": ({"source_url": {"exists": False}}, {"green", "blue", "archived"}),
    "created_at since": ({"created_at": {"gte": PAST, "lt": FUTURE}}, ALL),
    "created_at later": ({"created_at": {"gt": FUTURE}}, set()),
    "updated_at before": ({"updated_at": {"lte": FUTURE}}, ALL),
    "metadata number": ({"metadata": {"year": {"gte": 2021, "lt": 2024}}}, {"red", "green"}),
    "metadata equal": ({"metadata": {"author": "Ada"}}, {"red"}),
    "metadata truth": ({"metadata": {"approved": True}}, {"green"}),
    "metadata fraction": ({"metadata": {"ratio": {"gt": 0.2, "lt": 0.3}}}, {"red"}),
    "metadata list": ({"metadata": {"topics": "b"}}, {"blue"}),
    "metadata time": ({"metadata": {"signed": {"gte": "2023-05-01T00:00:00+00:00"}}}, {"green"}),
    "metadata exists": ({"metadata": {"author": {"exists": True}}}, {"red", "green"}),
    "and": ({"doc_type": "report", "metadata": {"year": 2024}}, {"blue"}),
    "or": ({"or": [{"metadata": {"year": 2021}}, {"collection": "archive"}]}, {"red", "archived"}),
    "not": ({"not": {"or": [{"tags": ["legal"]}, {"collection": "archive"}]}}, {"red"}),
}


@pytest.fixture(scope="module")
async def shelf(platform: Platform) -> AsyncIterator[Tenant]:
    """Yield a tenant with four documents that differ in every field."""
    async with platform.tenant() as tenant:
        await tenant.client.create_collection("archive")
        await asyncio.gather(
            tenant.put("archived", "The turbine archived.", collection="archive", doc_type="note"),
            *(tenant.put(name, f"The turbine {name}.", **fields) for name, fields in DOCUMENTS.items()),
        )
        yield tenant


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_lets_through_what_it_describes_in_every_mode(name: str, shelf: Tenant) -> None:
    chosen, expected = FILTERS[name]
    for mode in MODES:
        answer = await shelf.search("turbine", mode=mode, filters=chosen)
        assert {result.external_id for result in answer.results} == expected, mode


async def test_a_filter_by_document_id_lets_through_that_document(shelf: Tenant) -> None:
    wanted = next(d for d in (await shelf.client.list_documents()).documents if d.external_id == "blue")
    answer = await shelf.search("turbine", filters={"document_id": str(wanted.id)})
    assert [result.document_id for result in answer.results] == [wanted.id]


async def test_a_wrong_filter_is_refused_with_every_mistake(shelf: Tenant) -> None:
    wrong = {"colour": "red", "tags": {"some": ["x"]}, "created_at": {"gte": "yesterday"}}
    answer = await shelf.http.post("/api/search", json={"query": "turbine", "filters": wrong})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {
        "filters.colour",
        "filters.tags.some",
        "filters.created_at.gte",
    }


async def test_an_answer_tells_all_that_is_known_of_a_document(shelf: Tenant) -> None:
    before = datetime.now(UTC) - timedelta(minutes=10)
    answer = await shelf.search("turbine red", mode="keyword")
    first = answer.results[0]
    assert (first.external_id, first.collection, first.doc_type) == ("red", "default", "report")
    assert (first.tags, first.metadata) == (DOCUMENTS["red"]["tags"], DOCUMENTS["red"]["metadata"])
    assert first.source_url == "https://example.org/red"
    assert before < first.created_at < datetime.now(UTC)
    assert first.text == "The turbine red."
    assert (answer.mode, answer.query, answer.total) == ("keyword", "turbine red", 4)
    assert answer.timings_ms["total"] > 0


@pytest.mark.parametrize("mode", MODES)
async def test_the_mode_asked_for_is_the_mode_that_runs(mode: Mode, shelf: Tenant) -> None:
    answer = await shelf.search("the wheel that makes electricity from steam", mode=mode, limit=1)
    assert answer.mode == mode
    # No word of the query but stop words is in any document: only meaning can find it.
    assert bool(answer.results) == (mode != "keyword")


async def test_pages_follow_each_other_without_gap_or_repetition(tenant: Tenant) -> None:
    await asyncio.gather(*(tenant.put(f"n{n}", f"Lighthouse number {n} blinks.") for n in range(23)))
    for mode in MODES:
        whole = await tenant.search("lighthouse", mode=mode, limit=100)
        paged, cursor, pages = [], None, 0
        while True:
            answer = await tenant.search("lighthouse", mode=mode, limit=5, cursor=cursor)
            paged += [result.chunk_id for result in answer.results]
            pages += 1
            if (cursor := answer.next_cursor) is None:
                break
        assert paged == [result.chunk_id for result in whole.results], mode
        assert len(set(paged)) == 23
        assert pages == 5
    listed, cursor = [], None
    while True:
        page = await tenant.client.list_documents(limit=10, cursor=cursor)
        listed += [document.id for document in page.documents]
        if (cursor := page.next_cursor) is None:
            break
    assert len(listed) == len(set(listed)) == 23


async def test_grouping_shows_the_best_passage_of_each_document(tenant: Tenant) -> None:
    sections = "\n\n".join(f"# Part {n}\n\nThe glacier of part {n}. {filler('ice')}" for n in range(4))
    await tenant.put("long", sections, doc_type="markdown")
    await tenant.put("short", "A glacier melts.")

    plain = await tenant.search("glacier", mode="keyword", limit=50)
    grouped = await tenant.search("glacier", mode="keyword", limit=50, group_by_document=True)

    assert len(plain.results) >= 5
    assert sorted(result.external_id or "" for result in grouped.results) == ["long", "short"]
    best = next(result for result in plain.results if result.external_id == "long")
    assert best.score == max(result.score for result in plain.results if result.external_id == "long")
    assert best.score in {result.score for result in grouped.results}


async def test_highlights_mark_what_matched_and_escape_the_rest(tenant: Tenant) -> None:
    await tenant.put("a", "Prices <script>rose</script> while Captains negotiated & waited.")

    result = (await tenant.search("captain negotiates", mode="keyword", highlight=True)).results[0]

    shown = " ".join(result.highlights)
    assert "<mark>Captains</mark>" in shown
    assert "<mark>negotiated</mark>" in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize(
    "count",
    [pytest.param(60, id="short"), pytest.param(500, id="full", marks=pytest.mark.full)],
)
@pytest.mark.timeout(300)
async def test_scores_do_not_change_when_another_tenant_imports(
    count: int, tenant: Tenant, other_tenant: Tenant
) -> None:
    for number in range(5):
        await tenant.put(f"n{number}", f"Heron {number} stands in the reeds." + " Heron." * number)

    async def scores() -> dict[str, list[tuple[str | None, float]]]:
        return {
            mode: [
                (result.external_id, round(result.score, 6))
                for result in (await tenant.search("heron reeds", mode=mode)).results
            ]
            for mode in MODES
        }

    before = await scores()
    jobs = [
        (
            await other_tenant.client.put_document(f"n{n}", content=f"Heron and crane {n}, far from reeds.")
        ).job_id
        for n in range(count)
    ]
    for job_id in jobs:
        await other_tenant.succeeded(job_id, 240)

    assert await scores() == before
    assert before["keyword"][0][1] > 0


async def test_a_search_that_waits_for_a_write_sees_it(tenant: Tenant) -> None:
    for n in range(5):
        accepted = await tenant.client.create_document(content=f"Ledger number {n} of the harbour.")

        answer = await tenant.client.search(f"ledger {n}", mode="keyword", wait_for=[accepted.job_id])

        assert accepted.document_id in {result.document_id for result in answer.results}


async def test_phrases_facets_order_and_explanations_come_through(shelf: Tenant) -> None:
    answer = await shelf.client.search(
        "turbine", mode="keyword", facets=["doc_type", "metadata.year"], sort="-title", explain=True
    )

    counted = {count.value: count.count for count in answer.facets["doc_type"]}
    assert counted == {"report": 2, "memo": 1, "note": 1}
    titles = [result.title for result in answer.results]
    assert titles == sorted(titles, key=str.casefold, reverse=True)
    assert all(result.explanation and "sparse" in result.explanation for result in answer.results)
    assert answer.explanation is not None
    assert answer.explanation["trace_id"] is not None


async def test_several_searches_at_once_are_those_searches(shelf: Tenant) -> None:
    single = await shelf.client.search("turbine", mode="keyword")

    batch = await shelf.client.search_batch([{"query": "turbine", "mode": "keyword"}, {"query": " "}])

    first, second = batch.results
    assert first.answer is not None
    assert [each.chunk_id for each in first.answer.results] == [each.chunk_id for each in single.results]
    assert second.error is not None
    assert second.error.code == "validation_failed"
