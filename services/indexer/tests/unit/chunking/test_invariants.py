import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.indexer.tests.growth import grows_with_length

from quarry_indexer.chunking.chunk import Chunk, ChunkOptions, ChunkOptionsError, TokenCounter
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.parsing.document import PageSpan, ParsedDocument
from quarry_indexer.parsing.extract import titled_document

DOC_TYPES = ["markdown", "text", "code", "csv", "tsv", "json", "rst", "org", "pdf", "docx"]
FRAGMENTS = [
    "# Heading\n",
    "## Deeper\n\n",
    "Title\n=====\n",
    "* Star\n",
    "\n\n",
    "\n",
    " ",
    "    ",
    "\t",
    ". ",
    "。",
    '"',
    ",",
    "A sentence of several words. ",
    "Überraschung ",
    "検索システムは正しい。",
    "ภาษาไทยไม่มีช่องว่าง",
    "हिन्दी में लिखा हुआ वाक्य। ",
    "```py\nx = 1\n```\n",
    "```\nnever closed\n",
    "| a | b |\n| --- | --- |\n",
    "| 1 | 2 |\n",
    "def f(x):\n    return x\n",
    "class A:\n",
    "a,b,c\n",
    '"x\ny",2,3\n',
    "0123456789abcdef" * 9,
    "👩‍👩‍👧",
    "\U0001d504\U0001d52b 𠀀𠀁。 ",
    "é",
    "\u200b",
    "\x0c",
    "{",
    "}\n",
    "- item\n",
]
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=12)), max_size=150).map("".join)


def text_of(parsed: ParsedDocument, chunk: Chunk) -> str:
    return parsed.text[chunk.char_start : chunk.char_end]


def assert_sound(parsed: ParsedDocument, chunks: list[Chunk], options: ChunkOptions) -> None:
    covered = 0
    encoded = parsed.text.encode()
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert text_of(parsed, chunk).strip()
        assert encoded[chunk.byte_start : chunk.byte_end].decode() == text_of(parsed, chunk)
        assert chunk.token_count <= options.max_tokens
        assert not parsed.text[covered : max(covered, chunk.char_start)].strip()
        assert chunk.char_end > covered
        covered = chunk.char_end
    assert not parsed.text[covered:].strip()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, doc_type=st.sampled_from(DOC_TYPES), size=st.sampled_from([16, 40, 200]), data=st.data())
def test_any_text_is_covered_by_true_bounded_chunks(
    tokens: TokenCounter, text: str, doc_type: str, size: int, data: st.DataObject
) -> None:
    options = ChunkOptions(size, data.draw(st.integers(0, size // 2)))
    parsed = ParsedDocument(text=text, doc_type=doc_type, media_type="text/plain")

    chunks = chunk_document(parsed, options, tokens)

    assert_sound(parsed, chunks, options)
    assert [chunk.token_count for chunk in chunks] == tokens.count_tokens(
        [text_of(parsed, chunk) for chunk in chunks]
    )
    assert chunk_document(parsed, options, tokens) == chunks


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "検索" * 20_000,
        "ภาษาไทย" * 5_000,
        "का" * 20_000,
        "e\u0301" * 20_000,
        "a" + " " * 200_000 + "b",
        "(" * 20_000,
    ],
    ids=["word", "chinese", "thai", "hindi", "accents", "blanks", "brackets"],
)
def test_text_without_any_place_to_cut_is_cut_all_the_same(tokens: TokenCounter, text: str) -> None:
    options = ChunkOptions()
    parsed = ParsedDocument(text=text, doc_type="text", media_type="text/plain")

    chunks = chunk_document(parsed, options, tokens)

    assert_sound(parsed, chunks, options)
    assert max(len(text_of(parsed, chunk)) for chunk in chunks) <= 32 * options.max_tokens


def test_a_cut_never_parts_a_letter_from_its_accent(tokens: TokenCounter) -> None:
    parsed = ParsedDocument(text="का" * 20_000, doc_type="text", media_type="text/plain")

    chunks = chunk_document(parsed, ChunkOptions(), tokens)

    assert len(chunks) > 5
    assert {text_of(parsed, chunk)[0] for chunk in chunks} == {"क"}


@pytest.mark.parametrize(
    "line", ["one two three. ", "word,7,\n", "| a | b |\n", "# h\n\ntext\n\n", "x = 1\n"]
)
@pytest.mark.parametrize("doc_type", ["text", "markdown", "csv", "code"])
def test_time_grows_with_length_not_faster(tokens: TokenCounter, line: str, doc_type: str) -> None:
    def chunk(repeats: int) -> None:
        parsed = ParsedDocument(text=line * repeats, doc_type=doc_type, media_type="text/plain")
        chunk_document(parsed, ChunkOptions(), tokens)

    assert grows_with_length(chunk, 2_000)


def test_pages_follow_the_start_of_each_chunk(tokens: TokenCounter) -> None:
    pages = [f"Page {number} says something of its own. " * 20 for number in range(1, 6)]
    text = "\n\n".join(pages)
    starts = [text.index(page) for page in pages]
    spans = tuple(
        PageSpan(number, start, start + len(page))
        for number, (start, page) in enumerate(zip(starts, pages, strict=True), start=1)
    )
    parsed = ParsedDocument(text=text, doc_type="pdf", media_type="application/pdf", pages=spans)

    for chunk in chunk_document(parsed, ChunkOptions(100, 0), tokens):
        assert chunk.page is not None
        assert f"Page {chunk.page} says" in text_of(parsed, chunk)


def test_a_title_alone_is_one_chunk(tokens: TokenCounter) -> None:
    (chunk,) = chunk_document(titled_document("Minutes of May"), ChunkOptions(), tokens)

    assert (chunk.char_start, chunk.char_end) == (0, len("Minutes of May"))


def test_a_blank_text_gives_no_chunk(tokens: TokenCounter) -> None:
    parsed = ParsedDocument(text=" \n\n ", doc_type="text", media_type="text/plain")

    assert chunk_document(parsed, ChunkOptions(), tokens) == []


@pytest.mark.parametrize(("size", "overlap"), [(15, 0), (200, 101), (200, -1), (9000, 10)])
def test_sizes_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ChunkOptionsError):
        ChunkOptions(size, overlap)
