"""PDF, Office, OpenDocument, RTF, EPUB and Outlook files, by kreuzberg."""

import re
from pathlib import Path

import kreuzberg

from quarry_indexer.parsing.cleaning import clean_markdown
from quarry_indexer.parsing.document import PageSpan
from quarry_indexer.parsing.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EncryptedDocumentError,
    ParseError,
    UnsupportedFormatError,
)
from quarry_indexer.parsing.extracted import Extracted, first_heading
from quarry_indexer.parsing.formats import Format
from quarry_indexer.parsing.pdf import assemble_pages

_MARK = "quarry-page-break"
_PAGE_MARK = re.compile(rf"\[{_MARK}:(\d+)\]")
_ONLY_LINK = re.compile(r"^\[([^\]\n]+)\]\(([^):\s]*)\)$", re.MULTILINE)
_CONTENTS = re.compile(r"toc|contents", re.IGNORECASE)
_INNER_LINK = re.compile(r"(?<!!)\[([^\[\]\n]+)\]\([^():\s#]+\.x?html?(?:#[^()\s]*)?\)")
_MAIL_SUBJECT = re.compile(r"\A\*\*Subject\*\*:[ \t]*(\S.*)$", re.MULTILINE)
_MAIL_FIELD = re.compile(r"^\*\*(From|To|Cc|CC|Bcc|BCC|Date)\*\*:", re.MULTILINE)
_METADATA = (
    "authors", "created_by", "created_at", "modified_at", "modified_by", "subject", "keywords", "description",
    "publisher", "rights", "identifier", "producer", "page_count", "slide_count", "sheet_names",
    "from_email", "to_emails", "cc_emails", "organization",
)  # fmt: skip


def extract_binary(path: Path, found: Format) -> Extracted:
    """Return the text of a file in a binary format. Raises a `ParseError`."""
    slides = found.doc_type == "pptx"
    config = kreuzberg.ExtractionConfig(
        use_cache=False,  # it would write into the working directory
        output_format="markdown",
        enable_quality_processing=False,
        pages=kreuzberg.PageConfig(
            extract_pages=True,
            insert_page_markers=slides,
            marker_format=f"\n\n[{_MARK}:{{page_num}}]\n\n",
        ),
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )
    try:
        result = kreuzberg.extract_file_sync(path, found.media_type, config)
    except kreuzberg.KreuzbergError as error:
        raise _typed(error, found.doc_type) from None
    except RuntimeError as error:  # the reader found itself in a state that it held impossible
        raise CorruptDocumentError(f"The {found.doc_type} file is damaged: {str(error)[:250]}.") from None
    facts = {str(name): value for name, value in dict(result.metadata).items()}
    page_count = None
    if found.doc_type == "pdf":
        page_count = len(result.pages or ())
        text, pages = assemble_pages([page["content"] for page in result.pages or ()], result.content)
    elif slides:
        text, pages = _split_slides(result.content)
        page_count = len(result.pages or ())
    else:
        content = _OWN_CLEANING.get(found.doc_type, str)(result.content)
        text, pages = clean_markdown(content), ()
    title = facts.get("title") or (facts.get("subject") if found.doc_type == "msg" else None)
    return Extracted(
        text,
        title=str(title) if title else first_heading(text),
        pages=pages,
        page_count=page_count,
        metadata={name: shown for name in _METADATA if (shown := _shown(facts.get(name)))},
        language=str(facts["language"]) if facts.get("language") else None,
    )


def _shown(value: object) -> str:
    """A metadata value as one line; lists joined, empty parts left out."""
    if value is None:
        return ""
    parts = value if isinstance(value, list | tuple) else [value]
    return ", ".join(str(part).strip() for part in parts if str(part).strip())[:1000]


def _plain_links(markdown: str) -> str:
    """Links within the book lead nowhere outside it; a paragraph that links to the contents is a title."""

    def titled(link: re.Match[str]) -> str:
        return f"## {link[1]}" if _CONTENTS.search(link[2]) else link[0]

    return _INNER_LINK.sub(r"\1", _ONLY_LINK.sub(titled, markdown))


def _mail_head(markdown: str) -> str:
    """The subject is the heading of an Outlook message, as it is of any other."""
    return _MAIL_FIELD.sub(r"\1:", _MAIL_SUBJECT.sub(r"# \1", markdown, count=1), count=8)


_OWN_CLEANING = {"epub": _plain_links, "msg": _mail_head}


def _split_slides(marked: str) -> tuple[str, tuple[PageSpan, ...]]:
    """Take the slide marks out of the text and keep where they stood."""
    pieces = _PAGE_MARK.split(marked)
    texts = [clean_markdown(piece.strip()) for piece in pieces[::2]]
    text, spans = texts[0], []
    for number, content in zip(pieces[1::2], texts[1:], strict=True):
        if not content:
            continue
        text += "\n\n" if text else ""
        spans.append(PageSpan(int(number), len(text), len(text) + len(content)))
        text += content
    return text, tuple(spans)


def _typed(error: kreuzberg.KreuzbergError, doc_type: str) -> ParseError:
    said = str(error)
    lowered = said.lower()
    sentence = said.split(":", 1)[-1].strip()[:300]
    if re.search(r"password|encrypt", lowered):
        return EncryptedDocumentError(f"The {doc_type} file asks for a password.")
    if isinstance(error, kreuzberg.ValidationError) or "unsupported" in lowered:
        return UnsupportedFormatError(f"The {doc_type} file cannot be read: {sentence}")
    if re.search(r"too large|exceed|zip bomb|limit", lowered):
        return DocumentTooLargeError(f"The {doc_type} file unpacks to more than is allowed: {sentence}")
    return CorruptDocumentError(f"The {doc_type} file is damaged: {sentence}")
