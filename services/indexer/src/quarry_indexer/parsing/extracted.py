"""What one format's reader gives, before the document is put together."""

import msgspec

from quarry_indexer.parsing.document import PageSpan


class Extracted(msgspec.Struct, frozen=True):
    """Text with what the file says of itself; the fields mean what they mean in `ParsedDocument`."""

    text: str
    title: str | None = None
    pages: tuple[PageSpan, ...] = ()
    page_count: int | None = None
    metadata: dict[str, str] = {}
    language: str | None = None


def first_heading(markdown: str) -> str | None:
    """Return the first level-1 heading within the first lines of Markdown, else None."""
    for line in markdown[:4000].split("\n"):
        if line.startswith("# "):
            return line[2:].strip(" #") or None
    return None
