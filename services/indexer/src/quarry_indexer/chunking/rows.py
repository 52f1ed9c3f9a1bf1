"""Rows of CSV and TSV: a quoted field may hold line ends, so a row is not always a line."""

import re

from quarry_indexer.chunking.lines import lines_of
from quarry_indexer.chunking.section import Block, Section

_QUOTED_FIELD = re.compile(r"(?:^|(?<=[,;\t|]))\"[^\"]*(?:\"\"[^\"]*)*\"(?=[,;\t|]|$)")
_OPEN_QUOTE = re.compile(r"(?:^|[,;\t|])\"")
_MAX_ROW_LINES = 200
_NUMBER = re.compile(r"[-+]?[\d.,]+%?$")


def row_sections(text: str, delimiter: str) -> list[Section]:
    """Return a table of delimited values as one block of rows, with its header if it has one."""
    ends = _row_ends(text)
    stripped = text.lstrip("\n")
    start = len(text) - len(stripped)
    first = text[start : next((end for end in ends if end > start), len(text))].strip()
    header = first if _is_header(first, delimiter) else ""
    block = Block(start, len(text.rstrip()), "rows", header=header, rows=tuple(ends))
    return [Section((), (block,), has_body=True)] if block.end > block.start else []


def _row_ends(text: str) -> list[int]:
    ends: list[int] = []
    open_lines = 0
    for line in lines_of(text):
        if open_lines:
            closes = line.content.count('"') % 2 == 1
            open_lines = 0 if closes else open_lines + 1
            if open_lines > _MAX_ROW_LINES:  # a stray quote: lines are rows after all
                return [line.end for line in lines_of(text)]
        elif '"' in line.content:
            open_lines = 1 if _OPEN_QUOTE.search(_QUOTED_FIELD.sub("", line.content)) else 0
        if not open_lines:
            ends.append(line.end)
    return ends


def _is_header(row: str, delimiter: str) -> bool:
    """A header names every column, and no name is a number."""
    cells = [cell.strip(' "') for cell in row.split(delimiter)]
    return len(cells) > 1 and all(cell and not _NUMBER.match(cell) for cell in cells)
