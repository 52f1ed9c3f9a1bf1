"""What chunking holds and how far its parts may grow, whatever the text."""

from collections.abc import Iterator

import pytest

from quarry_indexer.chunking import chunker, packing
from quarry_indexer.chunking.chunk import Chunk, ChunkOptions, TokenCounter
from quarry_indexer.chunking.chunker import chunk_document, iterate_chunks
from quarry_indexer.chunking.markup import markdown_sections, plain_sections
from quarry_indexer.chunking.pieces import Piece, pieces_of
from quarry_indexer.chunking.rows import row_sections
from quarry_indexer.chunking.section import (
    MAX_BLOCKS,
    MAX_HEADING_CHARACTERS,
    MAX_HEADINGS,
    Block,
    Section,
)
from quarry_indexer.chunking.tokens import TokenIndex
from quarry_indexer.parsing.document import ParsedDocument


def document(text: str, doc_type: str) -> ParsedDocument:
    return ParsedDocument(text=text, doc_type=doc_type, media_type="text/plain")


def chunks_of(text: str, doc_type: str, tokens: TokenCounter) -> list[Chunk]:
    return chunk_document(document(text, doc_type), ChunkOptions(), tokens)


@pytest.mark.parametrize(
    "sections",
    [plain_sections("a\n\n" * 30_000), markdown_sections("a\n\n" * 30_000, setext=True)],
    ids=["text", "markdown"],
)
def test_a_text_without_headings_comes_in_parts(sections: Iterator[Section]) -> None:
    parts = list(sections)

    assert [len(part.blocks) for part in parts] == [MAX_BLOCKS] * 3
    assert {part.path for part in parts} == {()}


def test_no_more_pieces_are_made_than_the_next_chunk_needs(
    tokens: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a few words. " * 10_000
    made: list[Piece] = []

    def counted(*arguments: object) -> Iterator[Piece]:
        for piece in pieces_of(*arguments):  # type: ignore[arg-type]
            made.append(piece)
            yield piece

    monkeypatch.setattr(packing, "pieces_of", counted)
    section = Section((), (Block(0, len(text)),), has_body=True)
    next(packing.pack(text, [section], TokenIndex(text, tokens), ChunkOptions()))

    assert 1 < len(made) < 200


def test_the_first_chunk_is_there_before_the_last_line_is_read(
    tokens: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = ParsedDocument(text="# a\n\nwords\n\n" * 1000, doc_type="markdown", media_type="text/markdown")
    every = chunk_document(parsed, ChunkOptions(), tokens)
    made: list[Section] = []

    def counted(*arguments: object, **options: object) -> Iterator[Section]:
        for section in markdown_sections(*arguments, **options):  # type: ignore[arg-type]
            made.append(section)
            yield section

    monkeypatch.setattr(chunker, "markdown_sections", counted)
    chunks = iterate_chunks(parsed, ChunkOptions(), tokens)

    assert next(chunks) == every[0]
    assert 1 < len(made) < 100
    assert list(chunks) == every[1:]
    assert len(made) == 1000


def test_a_heading_path_is_bounded_however_deep_the_code(tokens: TokenCounter) -> None:
    source = "".join(f"{' ' * depth}def f{depth}{'x' * 250}():\n" for depth in range(60))

    deepest = max(chunks_of(source, "code", tokens), key=lambda chunk: len(chunk.heading_path))

    assert MAX_HEADINGS // 2 < len(deepest.heading_path) <= MAX_HEADINGS
    assert deepest.heading_path[0].startswith("f0x")
    assert all(len(name) <= MAX_HEADING_CHARACTERS for name in deepest.heading_path)


def test_a_first_row_beyond_reason_is_no_header(tokens: TokenCounter) -> None:
    chunks = chunks_of("name,".join(["a"] * 20_000) + "\n1,2\n", "csv", tokens)

    assert {chunk.heading_path for chunk in chunks} == {()}


def test_rows_come_in_parts_that_all_know_the_header() -> None:
    text = "name,age\n" + "ada,36\n" * (2 * MAX_BLOCKS)

    parts = list(row_sections(text, ","))

    assert [part.blocks[0].header for part in parts] == ["name,age"] * 3
    assert [len(part.blocks[0].rows) for part in parts] == [MAX_BLOCKS, MAX_BLOCKS, 1]
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]


def test_a_quoted_row_of_several_lines_is_one_row_and_a_stray_quote_harms_only_what_follows() -> None:
    quoted = 'a,"two\nlines"\n'
    text = quoted + 'b,"stray\n' + "c,d\n" * 300 + quoted

    (section,) = row_sections(text, ",")
    rows = section.blocks[0].rows

    assert rows[0] == len(quoted) - 1
    assert len(rows) == 1 + 1 + 300 + 2


@pytest.mark.parametrize(
    "text", ["# a" + " " * 400_000 + "b\n\nwords", "# a" + " #" * 200_000 + "b\n\nwords"]
)
def test_a_heading_line_of_blanks_costs_no_more_than_its_length(tokens: TokenCounter, text: str) -> None:
    (*_, last) = chunks_of(text, "markdown", tokens)

    assert last.heading_path[0].startswith("a")
