"""One file to its text. Synchronous and without protection: `ParserPool` runs it in a child process."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from quarry_indexer.parsing import mail, markup, office, plain
from quarry_indexer.parsing.document import ParsedDocument
from quarry_indexer.parsing.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    NoTextError,
)
from quarry_indexer.parsing.extracted import Extracted
from quarry_indexer.parsing.formats import Format, damaged_part, sniff
from quarry_indexer.parsing.utf8 import utf8_length

DEFAULT_MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_TITLE_CHARACTERS = 500
_SURROGATE = re.compile("[\ud800-\udfff]")

_TEXT: dict[str, Callable[[str], Extracted]] = {
    "html": markup.extract_html,
    "markdown": plain.extract_markdown,
    "rst": plain.extract_rst,
    "org": plain.extract_org,
    "json": plain.extract_json,
}


def extract(
    data_path: Path,
    file_name: str,
    declared_type: str | None = None,
    max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES,
) -> ParsedDocument:
    """Return the text of the file at `data_path` and what is known of it.

    `file_name` and `declared_type` (a media type) are what the uploader called it; they only break ties
    between kinds of text. Raises a subclass of `ParseError` that says what is wrong with the file.
    """
    data = data_path.read_bytes()
    if not data:
        raise EmptyDocumentError("The file has 0 bytes.")
    found = sniff(data, file_name, declared_type)
    if found.text is not None and len(data) > max_text_bytes:
        raise _too_large(len(data), max_text_bytes)
    extracted = _extract(data, found)
    if _SURROGATE.search(extracted.text):
        # They cannot be stored or sent; a decoder gives them only for damaged input.
        extracted = msgspec.structs.replace(extracted, text=_SURROGATE.sub("?", extracted.text))
    if not any(character.isprintable() and not character.isspace() for character in extracted.text):
        if part := damaged_part(data):
            raise CorruptDocumentError(f"The part {part} of the {found.doc_type} file is damaged.")
        raise NoTextError(f"The {found.doc_type} file is well-formed but no text was found in it.")
    size_bytes = utf8_length(extracted.text)
    if size_bytes > max_text_bytes:
        raise _too_large(size_bytes, max_text_bytes)
    return ParsedDocument(
        text=extracted.text,
        doc_type=found.doc_type,
        media_type=found.media_type,
        title=_title(extracted.title),
        pages=extracted.pages,
        page_count=extracted.page_count,
        metadata=extracted.metadata,
        language=extracted.language,
    )


def titled_document(title: str, doc_type: str = "text", media_type: str = "text/plain") -> ParsedDocument:
    """Return the document of a title without text: its text is the title itself, so offsets hold."""
    text = " ".join(title.split())
    return ParsedDocument(text=text, doc_type=doc_type, media_type=media_type, title=text)


def _extract(data: bytes, found: Format) -> Extracted:
    if found.text is None:
        return office.extract_binary(data, found)
    if found.doc_type == "eml":
        return mail.extract_mail(data)
    return _TEXT.get(found.doc_type, plain.extract_plain)(found.text)


def _title(title: str | None) -> str | None:
    cleaned = " ".join(_SURROGATE.sub("?", (title or "").replace("\0", "")).split())
    return cleaned[:MAX_TITLE_CHARACTERS] or None


def _too_large(size_bytes: int, limit_bytes: int) -> DocumentTooLargeError:
    return DocumentTooLargeError(
        f"The text has {size_bytes / 1_048_576:.1f} MB; the limit is {limit_bytes / 1_048_576:.1f} MB."
    )
