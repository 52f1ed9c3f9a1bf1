"""A document's chunks: whole sections where they fit, else packed from pieces with an overlap."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from quarry_indexer.chunking.chunk import Chunk, ChunkOptions, TokenCounter
from quarry_indexer.chunking.code import code_sections
from quarry_indexer.chunking.markup import (
    markdown_sections,
    numbered_sections,
    org_sections,
    plain_sections,
    rst_sections,
)
from quarry_indexer.chunking.packing import Span, pack
from quarry_indexer.chunking.rows import row_sections
from quarry_indexer.chunking.section import MAX_HEADER_CHARACTERS, MAX_HEADING_CHARACTERS, Section
from quarry_indexer.chunking.tokens import TokenIndex
from quarry_indexer.parsing.document import PageSpan, ParsedDocument
from quarry_indexer.parsing.utf8 import ByteOffsets

_MARKDOWN_TYPES = frozenset(
    (
        "markdown",
        "html",
        "pdf",
        "docx",
        "pptx",
        "xlsx",
        "odt",
        "ods",
        "odp",
        "doc",
        "ppt",
        "xls",
        "rtf",
        "epub",
        "eml",
        "msg",
    )
)


def chunk_document(parsed: ParsedDocument, options: ChunkOptions, tokens: TokenCounter) -> list[Chunk]:
    """Return the chunks of `parsed.text`, in order; the same input always gives the same chunks.

    Every character that is not blank is in a chunk; neighbours within a section share up to
    `options.overlap_tokens`. A document that has only a title is first made into one whose text is its title
    (`parsing.extract.titled_document`), which gives one chunk; a blank text gives none.
    """
    return list(iterate_chunks(parsed, options, tokens))


def iterate_chunks(parsed: ParsedDocument, options: ChunkOptions, tokens: TokenCounter) -> Iterator[Chunk]:
    """Yield what `chunk_document` returns, one by one: beside the text only the open section is held."""
    text = parsed.text
    index = TokenIndex(text, tokens)
    offsets = ByteOffsets(text)
    is_code = parsed.doc_type == "code"
    spans = (
        kept
        for group in _groups(_sections(parsed), index, options, is_code)
        for span in pack(text, group, index, options)
        if (kept := _trim(text, span, is_code))
    )
    page_starts = [page.char_start for page in parsed.pages]
    for ordinal, (span, count) in enumerate(_counted(text, spans, index, tokens, options.max_tokens)):
        byte_start, byte_end = offsets.of(span.start, span.end)
        yield Chunk(
            ordinal=ordinal,
            heading_path=_path(span),
            page=_page(parsed.pages, page_starts, span),
            char_start=span.start,
            char_end=span.end,
            byte_start=byte_start,
            byte_end=byte_end,
            token_count=count,
        )


def _sections(parsed: ParsedDocument) -> Iterator[Section]:
    if parsed.doc_type in _MARKDOWN_TYPES:
        return markdown_sections(parsed.text, setext=parsed.doc_type == "markdown")
    return _SCANNERS.get(parsed.doc_type, plain_sections)(parsed.text)


def _csv_sections(text: str) -> Iterator[Section]:
    first = text.lstrip("\n")[:MAX_HEADER_CHARACTERS].partition("\n")[0]
    return row_sections(text, ";" if first.count(";") > first.count(",") else ",")


_SCANNERS: dict[str, Callable[[str], Iterator[Section]]] = {
    "csv": _csv_sections,
    "tsv": lambda text: row_sections(text, "\t"),
    "code": code_sections,
    "json": lambda text: plain_sections(text, "lines"),
    "xml": lambda text: plain_sections(text, "lines"),
    "text": numbered_sections,
    "rst": rst_sections,
    "org": org_sections,
}


def _groups(
    sections: Iterable[Section], index: TokenIndex, options: ChunkOptions, is_code: bool
) -> Iterator[list[Section]]:
    """Sections that share chunks: a bare heading or a few words of introduction go with what is under them,
    very small sections with each other; a reader expects the rest under its own heading."""
    small_tokens = options.max_tokens // (2 if is_code else 5)
    group: list[Section] = []
    bare = True
    for section in sections:
        if group:
            held = index.count(group[0].start, group[-1].end)
            together = index.count(group[0].start, section.end)
            above = is_code or section.path[: len(group[-1].path)] == group[-1].path
            small = held < small_tokens and together <= (options.max_tokens if above else small_tokens)
            joins = small or (bare and (together <= options.max_tokens or held < small_tokens))
            if not joins:
                yield group
                group, bare = [], True
        group.append(section)
        bare = bare and not section.has_body
    if group:
        yield group


def _trim(text: str, span: Span, keep_indent: bool) -> Span | None:
    start, end = span.start, span.end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if keep_indent:
        while start > span.start and text[start - 1] in " \t":
            start -= 1
    return msgspec.structs.replace(span, start=start, end=end) if end > start else None


def _counted(
    text: str, spans: Iterable[Span], index: TokenIndex, tokens: TokenCounter, max_tokens: int
) -> Iterator[tuple[Span, int]]:
    """Each span with its count; only one that was cut within a word is tokenized once more."""
    for span in spans:
        if index.is_exact(span.start, span.end):
            yield span, index.count(span.start, span.end)
        else:
            yield from _within(text, [span], tokens, max_tokens)


def _within(
    text: str, spans: Sequence[Span], tokens: TokenCounter, max_tokens: int
) -> Iterator[tuple[Span, int]]:
    """Count each span as the embedder will; halve what a cut within a word made too large."""
    counts = tokens.count_tokens([text[span.start : span.end] for span in spans])
    for span, count in zip(spans, counts, strict=True):
        if count <= max_tokens or span.end - span.start <= 1:
            yield span, count
        else:
            yield from _within(text, _halves(text, span), tokens, max_tokens)


def _halves(text: str, span: Span) -> list[Span]:
    middle = (span.start + span.end) // 2
    blank = text.rfind(" ", span.start + 1, middle)
    cut = blank if blank > span.start + (span.end - span.start) // 4 else middle
    halves = (
        msgspec.structs.replace(span, end=cut),
        msgspec.structs.replace(span, start=cut),
    )
    return [kept for half in halves if (kept := _trim(text, half, keep_indent=False))]


def _path(span: Span) -> tuple[str, ...]:
    if not span.header:
        return span.path
    return (*span.path, " ".join(span.header.split())[:MAX_HEADING_CHARACTERS])


def _page(pages: Sequence[PageSpan], starts: Sequence[int], span: Span) -> int | None:
    """The page that most of the span is on."""
    first = max(0, bisect_right(starts, span.start) - 1)
    touched = pages[first : bisect_left(starts, span.end)]
    if not touched:
        return None
    return max(
        touched, key=lambda page: min(span.end, page.char_end) - max(span.start, page.char_start)
    ).number
