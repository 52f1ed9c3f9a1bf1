"""One file to its text. Synchronous and without protection: `ParserPool` runs it in a child process."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from quarry_indexer.parsing import archives, mail, markup, office, plain
from quarry_indexer.parsing.document import ParsedDocument
from quarry_indexer.parsing.errors import CorruptDocumentError, NoTextError, refuse_large
from quarry_indexer.parsing.extracted import Extracted
from quarry_indexer.parsing.formats import DEFAULT_MAX_TEXT_BYTES, ZIP_MARK, Format, sniff
from quarry_indexer.parsing.utf8 import utf8_length

MAX_TITLE_CHARACTERS = 500
_SURROGATE = re.compile("[\ud800-\udfff]")

_TEXT: dict[str, Callable[[str], Extracted]] = {
    "markdown": plain.extract_markdown,
    "rst": plain.extract_rst,
    "org": plain.extract_org,
}


def extract(
    data_path: Path,
    file_name: str,
    declared_type: str | None = None,
    max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES,
) -> ParsedDocument:
    """Return the text of the file at `data_path` and what is known of it; the file is only read.

    `file_name` and `declared_type` (a media type) are what the uploader called it; they only break ties
    between kinds of text. Raises a subclass of `ParseError` that says what is wrong with the file.
    """
    with data_path.open("rb") as file:
        found = sniff(file, file_name, declared_type, max_text_bytes)
        extracted = _extract(file, data_path, found, max_text_bytes)
        if _SURROGATE.search(extracted.text):
            # They cannot be stored or sent; a decoder gives them only for damaged input.
            extracted = msgspec.structs.replace(extracted, text=_SURROGATE.sub("?", extracted.text))
        if not any(character.isprintable() and not character.isspace() for character in extracted.text):
            _refuse_damage(file, found)
            raise NoTextError(f"The {found.doc_type} file is well-formed but no text was found in it.")
    refuse_large(utf8_length(extracted.text), max_text_bytes)
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


def _extract(file: BinaryIO, path: Path, found: Format, max_text_bytes: int) -> Extracted:
    if found.text is None:
        return office.extract_binary(path, found)
    if found.doc_type == "eml":
        file.seek(0)
        return mail.extract_mail(file, max_text_bytes)
    if found.doc_type == "html":
        return markup.extract_html(found.text, max_text_bytes)
    if found.doc_type == "json":
        return plain.extract_json(found.text, max_text_bytes)
    return _TEXT.get(found.doc_type, plain.extract_plain)(found.text)


def _refuse_damage(file: BinaryIO, found: Format) -> None:
    """Raise `CorruptDocumentError` where a zipped format has no text because a part of it is damaged."""
    file.seek(0)
    if file.read(len(ZIP_MARK)) != ZIP_MARK:
        return
    with archives.open_archive(file) as archive:
        if part := archives.damaged_part(archive):
            raise CorruptDocumentError(f"The part {part} of the {found.doc_type} file is damaged.")


def _title(title: str | None) -> str | None:
    cleaned = " ".join(_SURROGATE.sub("?", (title or "").replace("\0", "")).split())
    return cleaned[:MAX_TITLE_CHARACTERS] or None
