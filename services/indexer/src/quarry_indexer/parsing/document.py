"""What parsing a file gives."""

import msgspec


class PageSpan(msgspec.Struct, frozen=True):
    """Where a page (or slide) lies in the extracted text."""

    number: int
    """As printed by a viewer: the first page is 1."""
    char_start: int
    char_end: int
    """Character offsets into `ParsedDocument.text`, end exclusive."""


class ParsedDocument(msgspec.Struct, frozen=True):
    """The text of a document and what is known of it; chunk offsets refer to exactly this `text`."""

    text: str
    """Markdown-like for formats with structure, the decoded file for text formats; line ends are `\\n`."""
    doc_type: str
    """Short format name: `pdf`, `docx`, `markdown`, `csv`, `code` ..."""
    media_type: str
    title: str | None = None
    pages: tuple[PageSpan, ...] = ()
    """In order, not overlapping; empty where the format has no pages of its own."""
    page_count: int | None = None
    """Pages or slides of the file, those without text included; None where the format has none."""
    metadata: dict[str, str] = {}
    """Author, dates and the like, as the file states them."""
    language: str | None = None
    """BCP 47 tag, where the file states one."""
