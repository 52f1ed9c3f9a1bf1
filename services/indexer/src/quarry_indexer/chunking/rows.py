"""Rows of CSV and TSV: a quoted field may hold line ends, so a row is not always a line."""

import re
from collections.abc import Iterator

from quarry_indexer.chunking.lines import lines_of
from quarry_indexer.chunking.section import MAX_BLOCKS, MAX_HEADER_CHARACTERS, Block, Section

_QUOTED_FIELD = re.compile(r"(?:^|(?<=[,;\t|]))\"[^\"]*(?:\"\"[^\"]*)*\"(?=[,;\t|]|$)")
_OPEN_QUOTE = re.compile(r"(?:^|[,;\t|])\"")
_MAX_ROW_LINES = 200
_NUMBER = re.compile(r"[-+]?[\d.,]+%?$")


def row_sections(text: str, delimiter: str) -> Iterator[Section]:
    """Yield a table of delimited values as blocks of rows, each with the header if the table has one."""
    start = len(text) - len(text.lstrip("\n"))
    stop = len(text.rstrip())
    header: str | None = None
    rows: list[int] = []
    for end in _row_ends(text):
        if end <= start:
            continue
        if header is None:
            first = text[start : min(end, start + MAX_HEADER_CHARACTERS + 1)].strip()
            header = first if _is_header(first, delimiter) else ""
        rows.append(end)
        if len(rows) >= MAX_BLOCKS:
            yield _rows(start, min(end, stop), rows, header)
            start, rows = end, []
    if stop > start:
        yield _rows(start, stop, rows, header or "")


def _rows(start: int, end: int, rows: list[int], header: str) -> Section:
    return Section((), (Block(start, end, "rows", header=header, rows=tuple(rows)),), has_body=True)


def _row_ends(text: str) -> Iterator[int]:
    open_ends: list[int] = []
    stray = False
    for line in lines_of(text):
        if open_ends:
            if line.content.count('"') % 2 == 1:
                open_ends.clear()
            else:
                open_ends.append(line.end)
                if len(open_ends) > _MAX_ROW_LINES:  # a stray quote: lines are rows after all
                    yield from open_ends
                    open_ends.clear()
                    stray = True
                continue
        elif not stray and '"' in line.content and _OPEN_QUOTE.search(_QUOTED_FIELD.sub("", line.content)):
            open_ends.append(line.end)
            continue
        yield line.end
    yield from open_ends


def _is_header(row: str, delimiter: str) -> bool:
    """A header names every column, and no name is a number; a row beyond reason is none."""
    if len(row) > MAX_HEADER_CHARACTERS:
        return False
    cells = [cell.strip(' "') for cell in row.split(delimiter)]
    return len(cells) > 1 and all(cell and not _NUMBER.match(cell) for cell in cells)
