"""A PDF's text: exact pages from the page texts, headings marked where the layout analysis saw them.

The extractor offers two texts of a PDF: plain text page by page, and Markdown of the whole with headings but
without pages (its page boundaries count bytes of the plain text and do not fit the Markdown). Page numbers
are what a reader checks, so the pages are the text, and each heading of the Markdown that is found again as
one to three lines of a page becomes a heading line there.
"""

import re
from collections import Counter
from collections.abc import Sequence

from quarry_indexer.parsing.cleaning import clean_page
from quarry_indexer.parsing.document import PageSpan

_HEADING = re.compile(r"^(#{1,6}) +(\S.*)$", re.MULTILINE)
_WORDS = re.compile(r"[^\W_]+")
_BULLETS = tuple("•◦▪●○■")
_MAX_HEADING_LINES = 3
_MAX_HEADING_CHARACTERS = 200


def assemble_pages(pages: Sequence[str], markdown: str) -> tuple[str, tuple[PageSpan, ...]]:
    """Return the text of all pages, a blank line between them, and where each lies."""
    levels: dict[str, str] = {}
    unseen: Counter[str] = Counter()
    for marks, heading in _HEADING.findall(markdown):
        key = _key(heading)
        if len(heading) <= _MAX_HEADING_CHARACTERS and not key.isdigit() and key:
            levels.setdefault(key, marks)
            unseen[key] += 1
    parts: list[str] = []
    spans: list[PageSpan] = []
    position = 0
    for number, page in enumerate(pages, start=1):
        content = "\n".join(_mark_headings(clean_page(page).split("\n"), levels, unseen)).strip()
        if not content:
            continue
        spans.append(PageSpan(number, position, position + len(content)))
        parts.append(content)
        position += len(content) + 2
    return "\n\n".join(parts), tuple(spans)


def _mark_headings(lines: list[str], levels: dict[str, str], unseen: Counter[str]) -> list[str]:
    keys = [_key(line) for line in lines]
    marked: list[str] = []
    at = 0
    while at < len(lines):
        for taken in range(_MAX_HEADING_LINES, 0, -1):
            key = "".join(keys[at : at + taken])
            if keys[at] and unseen[key] > 0 and not lines[at].lstrip().startswith(_BULLETS):
                unseen[key] -= 1
                heading = " ".join(line.strip() for line in lines[at : at + taken])
                marked += ["", f"{levels[key]} {heading}", ""]
                at += taken
                break
        else:
            # A line of the page must not become a heading by its first character.
            line = lines[at]
            marked.append(f"\\{line}" if re.match(r"#{1,6} ", line) else line)
            at += 1
    return marked


def _key(text: str) -> str:
    return "".join(_WORDS.findall(text)).casefold()
