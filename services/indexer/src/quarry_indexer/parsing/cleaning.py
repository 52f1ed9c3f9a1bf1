"""Making an extractor's Markdown read as a person would write it."""

import re
from collections import Counter
from collections.abc import Container, Sequence
from itertools import pairwise

_DATA_IMAGE = re.compile(r"!\[([^\[\]\n]*)\]\(data:[^()\s]*\)")
# `#`, `|`, backtick and the backslash itself keep theirs: without it they would mean structure.
_ESCAPED = re.compile(r"\\([!\"$%&'()*+,\-./:;<=>?@\[\]^_{}~])")
_FENCE = re.compile(r"^```", re.MULTILINE)
_FENCE_END = re.compile(r"^```[ \t]*$", re.MULTILINE)
_ENTITIES = (("&nbsp;", " "), ("&#9;", "\t"))
_HEADING = re.compile(r"^(#{1,6}) (.*)$", re.MULTILINE)
_NUMBERED = re.compile(r"\d+(?:\.\d+)*[.)]? \S")
_MIN_STYLED = 5
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0x7F, 0xFEFF])


def clean_markdown(markdown: str) -> str:
    """Return `markdown` without embedded images, needless escapes, control characters and blank stretches."""
    text = markdown.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
    pieces = _split_fences(text)
    pieces[::2] = [_clean_prose(piece) for piece in pieces[::2]]
    styled = _styled_levels(pieces[::2])
    if styled:
        pieces[::2] = [_without_marks(piece, styled) for piece in pieces[::2]]
    return "".join(pieces).strip("\n")


def _split_fences(text: str) -> list[str]:
    """Return prose and fenced code in turn, prose first; a fence that is never closed is prose."""
    pieces: list[str] = []
    at = 0
    while opened := _FENCE.search(text, at):
        closed = _FENCE_END.search(text, opened.end())
        if closed is None:
            break
        pieces += [text[at : opened.start()], text[opened.start() : closed.end()]]
        at = closed.end()
    return [*pieces, text[at:]]


def _styled_levels(pieces: Sequence[str]) -> frozenset[str]:
    """Return the heading marks (`###`) with which paragraphs were only styled.

    Most headings of such a level have nothing under them but the next one.
    """
    totals: Counter[str] = Counter()
    bare: Counter[str] = Counter()
    for piece in pieces:
        found = list(_HEADING.finditer(piece))
        totals.update(heading[1] for heading in found)
        bare.update(
            heading[1]
            for heading, after in pairwise(found)
            if heading[1] == after[1] and not piece[heading.end() : after.start()].strip()
        )
    return frozenset(level for level, count in bare.items() if count >= max(_MIN_STYLED, totals[level] * 0.6))


def _without_marks(text: str, styled: Container[str]) -> str:
    """Take the marks from styled paragraphs; of these only the numbered ones ("2. Scope") are headings."""
    return _HEADING.sub(
        lambda heading: (
            heading[2] if heading[1] in styled and not _NUMBERED.match(heading[2]) else heading[0]
        ),
        text,
    )


def _clean_prose(text: str) -> str:
    text = _ESCAPED.sub(r"\1", _DATA_IMAGE.sub(r"\1", text))
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return _BLANK_LINES.sub("\n\n", text)


def clean_page(text: str) -> str:
    """Return a PDF page's plain text with words joined that a line end had cut."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"(?<=\w)[\x02\ufffe\u00ad]\n?(?=\w)", "", text)
    text = text.translate(_CONTROLS)
    return re.sub(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])", "", text).strip()
