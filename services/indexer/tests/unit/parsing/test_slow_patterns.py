"""Inputs on which a pattern or a library once took time that grew with the square of their length."""

import io
from collections.abc import Callable

import pytest
from services.indexer.tests.growth import grows_with_length

from quarry_indexer.parsing.cleaning import clean_markdown
from quarry_indexer.parsing.decoding import character_bytes, decode, text_encoding
from quarry_indexer.parsing.mail import extract_mail
from quarry_indexer.parsing.office import _plain_links, _split_slides
from quarry_indexer.parsing.plain import extract_json, extract_markdown
from quarry_indexer.parsing.text_formats import sniff_text

LIMIT = 64 * 1024 * 1024
HEAD = "From: a@example.org\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n"


def read_mail(text: str) -> object:
    return extract_mail(io.BytesIO(text.encode()), LIMIT)


@pytest.mark.parametrize(
    ("read", "before", "unit", "after"),
    [
        (clean_markdown, "", "```a\n", ""),
        (clean_markdown, "", "![", ""),
        (clean_markdown, "", "![](data:", ""),
        (clean_markdown, "", "\n ", "x"),
        (_plain_links, "[x](", "toc", ""),
        (_plain_links, "[x](a.html#", ".html#", ""),
        (_split_slides, "a", " ", "b"),
        (extract_markdown, "---\ntitle: a", " ", "b\n"),
        (lambda text: sniff_text(text, "", None), "", "<!---->", "x"),
        (lambda text: sniff_text(text, "", None), "[", "[", ""),
        (lambda text: extract_json(text, LIMIT), "[", '"a\\"",', "1]"),
        (read_mail, f"{HEAD}To: ", "(a) a@example.org, ", "\n\nx\n"),
        (read_mail, f"{HEAD}Content-Type: text/plain; ", "a*0*=b; ", "\n\nx\n"),
        (lambda text: decode(text.encode("latin-1")), "", "caf\xe9 ", ""),
        (lambda text: decode(text.encode("latin-1")), "", "\xe9\n", ""),
    ],
)  # fmt: skip
def test_time_grows_with_length_not_faster(
    read: Callable[[str], object], before: str, unit: str, after: str
) -> None:
    assert grows_with_length(lambda repeats: read(before + unit * repeats + after), 5_000, floor_seconds=0.02)


@pytest.mark.parametrize(
    "name", ["punycode", "idna", "undefined", "zlib", "unicode_escape", "rot13", "no such", ""]
)
def test_a_codec_that_is_no_encoding_of_text_is_none(name: str) -> None:
    assert text_encoding(name) is None


def test_a_page_that_declares_such_a_codec_is_read_all_the_same() -> None:
    assert "caf" in (decode(b"<meta charset=punycode>caf\xe9-" + b"abc-" * 1000) or "")


@pytest.mark.parametrize(
    ("head", "letter"),
    [
        (b"words", 1),
        ("words".encode("utf-16"), 2),
        ("words".encode("utf-16-be"), 2),
        ("words".encode("utf-32"), 4),
        (b"\xef\xbb\xbfwords", 1),
        (bytes(range(32)), None),
    ],
)
def test_the_width_of_a_letter_is_told_from_the_beginning(head: bytes, letter: int | None) -> None:
    assert character_bytes(head) == letter
