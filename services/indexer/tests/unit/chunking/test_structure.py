from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import pytest

from quarry_indexer.chunking.chunk import ChunkOptions, TokenCounter
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.parsing.document import ParsedDocument


class Passage(NamedTuple):
    """A chunk with its text."""

    text: str
    heading_path: tuple[str, ...]
    char_start: int
    char_end: int


Cut = Callable[..., list[Passage]]
WORDS = "plain words that fill the passage with something to count "


@pytest.fixture
def cut(tokens: TokenCounter) -> Cut:
    def chunks(text: str, doc_type: str = "markdown", size: int = 60, overlap: int = 0) -> list[Passage]:
        parsed = ParsedDocument(text=text, doc_type=doc_type, media_type="text/plain")
        return [
            Passage(text[c.char_start : c.char_end], c.heading_path, c.char_start, c.char_end)
            for c in chunk_document(parsed, ChunkOptions(size, overlap), tokens)
        ]

    return chunks


def one_with(chunks: list[Passage], text: str) -> Passage:
    (found,) = [chunk for chunk in chunks if text in chunk.text]
    return found


@pytest.mark.parametrize(
    ("doc_type", "text"),
    [
        ("markdown", f"# Guide\n\n## Install\n\n{WORDS * 4}\n\n## Use\n\nneedle {WORDS * 4}"),
        ("markdown", f"Guide\n=====\n\nInstall\n---\n\n{WORDS * 4}\n\nUse\n---\n\nneedle {WORDS * 4}"),
        ("docx", f"# Guide\n\n## Install\n\n{WORDS * 4}\n\n## Use\n\nneedle {WORDS * 4}"),
        ("rst", f"Guide\n=====\n\nInstall\n-------\n\n{WORDS * 4}\n\nUse\n----\n\nneedle {WORDS * 4}"),
        ("org", f"* Guide\n** Install\n{WORDS * 4}\n** TODO Use\nneedle {WORDS * 4}"),
    ],
)
def test_a_passage_keeps_the_path_of_its_headings(cut: Cut, doc_type: str, text: str) -> None:
    assert one_with(cut(text, doc_type), "needle").heading_path == ("Guide", "Use")


def test_numbered_titles_of_plain_text_are_headings(cut: Cut) -> None:
    sections = "".join(f"1.{n}. Part {n}\n\n{WORDS * 3}\n\n" for n in range(1, 4))
    chunks = cut(f"Manual\n\nChapter 1 Basics\n\n{sections}1.4. Last\n\nneedle {WORDS}\n", "text")

    assert one_with(chunks, "needle").heading_path == ("Chapter 1 Basics", "1.4. Last")


def test_a_numbered_list_has_no_headings(cut: Cut) -> None:
    chunks = cut("".join(f"{n}. Do step {n}\n\n{WORDS}\n\n" for n in range(1, 9)), "text")

    assert {chunk.heading_path for chunk in chunks} == {()}


def test_a_bare_heading_goes_with_what_follows(cut: Cut) -> None:
    chunks = cut(f"# Guide\n\n## Install\n\n{WORDS}")

    assert [chunk.heading_path for chunk in chunks] == [("Guide", "Install")]
    assert chunks[0].text.startswith("# Guide")


def test_a_small_section_does_not_take_the_heading_of_the_next(cut: Cut) -> None:
    chunks = cut("# Guide\n\n## Install\n\nRun it once.\n\n## Use\n\n" + WORDS * 3)

    assert one_with(chunks, "Run it once.").heading_path == ("Guide", "Install")
    assert one_with(chunks, WORDS.strip()).heading_path == ("Guide", "Use")


def test_very_small_sections_share_a_chunk_under_what_they_have_in_common(cut: Cut) -> None:
    chunks = cut("# Guide\n\n## Terms\n\n### Red\n\nStop.\n\n### Green\n\nGo.\n", size=200)

    assert [chunk.heading_path for chunk in chunks] == [("Guide", "Terms")]


def test_a_short_introduction_goes_with_the_first_section_under_it(cut: Cut) -> None:
    chunks = cut(f"# Guide\n\nRead this.\n\n## Install\n\n{WORDS * 2}")

    assert [chunk.heading_path for chunk in chunks] == [("Guide", "Install")]


def test_a_hash_in_a_fence_is_no_heading(cut: Cut) -> None:
    chunks = cut(f"# Guide\n\n{WORDS * 5}\n\n```sh\n# not a heading\nmake\n```\n\n{WORDS * 5}")

    assert {chunk.heading_path for chunk in chunks} == {("Guide",)}


@pytest.mark.parametrize(
    "block",
    ["```py\n" + "x = 1\n\n" * 8 + "```", "| a | b |\n| - | - |\n" + "| 1 | 2 |\n" * 4],
    ids=["fence", "table"],
)
def test_what_fits_is_kept_whole(cut: Cut, block: str) -> None:
    chunks = cut(f"{WORDS * 4}\n\n{block}\n\n{WORDS * 4}")

    assert one_with(chunks, block.strip())


def test_paragraphs_are_kept_whole(cut: Cut) -> None:
    paragraphs = [f"Number {number}: {WORDS * 2}".strip() for number in range(9)]

    chunks = cut("\n\n".join(paragraphs), "text")

    for paragraph in paragraphs:
        assert one_with(chunks, paragraph)


def test_a_long_paragraph_is_cut_between_sentences(cut: Cut) -> None:
    chunks = cut(f"Here are {WORDS.strip()}. " * 12, "text")

    assert len(chunks) > 2
    assert all(chunk.text.startswith("Here are") and chunk.text.endswith(".") for chunk in chunks)


def test_prose_overlaps_by_at_most_what_is_asked_for(cut: Cut, tokens: TokenCounter) -> None:
    text = "".join(f"Sentence {number} is here. " for number in range(100))

    chunks = cut(text, "text", size=60, overlap=15)

    for before, after in pairwise(chunks):
        shared = text[after.char_start : before.char_end]
        assert shared.startswith("Sentence")
        assert 0 < tokens.count_tokens([shared])[0] <= 15


def test_a_table_cut_in_two_keeps_its_header_in_the_path(cut: Cut) -> None:
    table = "| Name | Age |\n| --- | --- |\n" + "".join(f"| Person {n} | {n} |\n" for n in range(40))

    chunks = cut(f"## Staff\n\n{table}")

    assert one_with(chunks, "| Person 39 |").heading_path == ("Staff", "Name | Age")
    assert all(line.startswith(("|", "#")) for chunk in chunks for line in chunk.text.split("\n") if line)


@pytest.mark.parametrize(("doc_type", "delimiter"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_rows_stay_whole_and_know_their_header(cut: Cut, doc_type: str, delimiter: str) -> None:
    rows = [delimiter.join((f"Person {n}", f'"two\nlines {n}"', "Rome")) for n in range(30)]
    header = delimiter.join(("Name", "Remark", "Town"))

    chunks = cut("\n".join([header, *rows]) + "\n", doc_type)

    for row in rows:
        assert one_with(chunks, row)
    assert {chunk.heading_path for chunk in chunks[1:]} == {(" ".join(header.split()),)}


def test_a_stray_quote_in_a_table_swallows_nothing(cut: Cut) -> None:
    chunks = cut('Item,Price\n27" screen,349\n' + "".join(f"Thing {n},{n}\n" for n in range(60)), "csv")

    assert all(chunk.text.count("\n") < 30 for chunk in chunks)
    assert one_with(chunks, "Thing 59,59")


PYTHON = '''import os


@cache
def first(x):
    """Say what it does."""
    return [x + 1, x + 2, x + 3, x + 4]


class Store:
    def get(self, key):
        value = self.rows.get(key, None)
        return value if value is not None else self.fallback(key)

    def put(self, key, value):
        self.rows[key] = value
        self.log.append((key, value, self.clock()))


print(first(1), Store().get("a"), os.getcwd(), "the end")
'''
GO = """package main

// Get reads a row.
func (s *Store) Get(key string) (string, error) {
	value, found := s.rows[key]
	if !found {
		return "", errors.New("no such row as this one here")
	}
	return value, nil
}

type Store struct {
	rows map[string]string
	size int
}
"""
JAVA = """public class Store {
    private final Map<String, String> rows = new HashMap<>();

    public String get(String key) {
        if (!rows.containsKey(key)) {
            throw new IllegalArgumentException("no such row");
        }
        return rows.get(key);
    }
}
"""


@pytest.mark.parametrize(
    ("source", "needle", "path"),
    [
        (PYTHON, "return [x + 1", ("first",)),
        (PYTHON, "self.log.append", ("Store", "put")),
        (PYTHON, "the end", ()),
        (GO, "errors.New", ("Get",)),
        (JAVA, "containsKey", ("Store", "get")),
    ],
)
def test_code_knows_the_definition_it_is_in(
    cut: Cut, source: str, needle: str, path: tuple[str, ...]
) -> None:
    assert one_with(cut(source, "code", size=50), needle).heading_path == path


def test_a_definition_keeps_its_decorators_comments_and_indentation(cut: Cut) -> None:
    chunks = cut(PYTHON, "code", size=50)

    assert "@cache\ndef first" in one_with(chunks, "return [x").text
    assert one_with(chunks, "self.log").text.startswith("    def put")
