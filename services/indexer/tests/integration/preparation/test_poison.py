"""Files made to harm, and files that are only large: a clear outcome, and the pool goes on."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from benchmarks import memory
from services.indexer.tests.integration.preparation.poison import CASES, READ, Poison
from services.indexer.tests.integration.preparation.reading import settings, take

from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.parsing.errors import ParseError
from quarry_indexer.preparation.pool import ParserPool

SHORT_MEMORY_MB = 400
PARENT_GROWTH_MB = 40
CHILD_MB = 1024
# The watch looks every 50 ms.
CHILD_OVERSHOOT_MB = 150

each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ParserPool]:
    short = settings(
        PARSER_MEMORY_MB=str(SHORT_MEMORY_MB),
        PARSER_MAX_TEXT_MB=str(memory.max_text_mb(0.02)),
        PARSER_TIMEOUT_SECONDS="60",
    )
    async with ParserPool(short) as opened:
        yield opened


async def outcome(pool: ParserPool, case: Poison, path: Path) -> str:
    try:
        async with pool.prepare(path, case.file_name, None, ChunkOptions(), owner="one") as document:
            text = b"".join([piece async for piece in document.text()]).decode()
            chunks = [chunk async for page in document.chunks() for chunk in page]
    except ParseError as error:
        return error.data.code
    covered = 0
    for chunk in chunks:
        assert not text[covered : max(covered, chunk.char_start)].strip()
        covered = chunk.char_end
    assert not text[covered:].strip()
    return READ


@each_case
async def test_in_short(pool: ParserPool, tmp_path: Path, case: Poison) -> None:
    path, note = tmp_path / "file", tmp_path / "note"
    case.write(path, case.short_scale)
    note.write_text("# Note\n\nA few words.\n")

    assert await outcome(pool, case, path) in case.outcomes
    assert (await take(pool, note, "note.md")).title == "Note"


@pytest.mark.full
@pytest.mark.timeout(400)
@each_case
async def test_in_full(case: Poison) -> None:
    found = (await memory.measure(print, 1.0, [case.name])).cases[0]

    assert found.outcome in case.outcomes
    assert found.parent_growth_mb < PARENT_GROWTH_MB
    assert found.child_peak_mb < CHILD_MB + CHILD_OVERSHOOT_MB


async def test_a_text_far_too_large_is_refused_by_its_size_alone(pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"words " * 100_000)
        file.truncate(50_000_000_000)  # sparse: reading it would take minutes

    with pytest.raises(ParseError) as refused:
        await take(pool, path, "a.txt")

    assert refused.value.data.code == "document_too_large"


async def test_pages_of_a_long_pdf_are_exact(pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    next(case for case in CASES if case.file_name == "a.pdf").write(path, 0.05)

    taken = await take(pool, path, "a.pdf")

    starts = [taken.text.index(f"This is page {number}.") for number in range(1, 101)]
    assert taken.page_count == 100
    for number, (start, end) in enumerate(pairwise([*starts, len(taken.text)]), start=1):
        within = [chunk for chunk in taken.chunks if start <= chunk.char_start and chunk.char_end <= end]
        assert {chunk.page for chunk in within} == {number}
