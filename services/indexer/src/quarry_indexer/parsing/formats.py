"""Which format a file has, told from its bytes; the name only breaks ties between kinds of text."""

import os
import re
from collections.abc import Container
from pathlib import PurePath
from typing import BinaryIO

import msgspec

from quarry_indexer.parsing import archives
from quarry_indexer.parsing.decoding import character_bytes, decode
from quarry_indexer.parsing.errors import (
    EmptyDocumentError,
    EncryptedDocumentError,
    UnsupportedFormatError,
    refuse_large,
)
from quarry_indexer.parsing.text_formats import sniff_text

_OFFICE = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"
_MEDIA_TYPES = {
    "pdf": "application/pdf",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "odt": f"{_ODF}.text",
    "ods": f"{_ODF}.spreadsheet",
    "odp": f"{_ODF}.presentation",
    "doc": "application/msword",
    "ppt": "application/vnd.ms-powerpoint",
    "xls": "application/vnd.ms-excel",
    "rtf": "application/rtf",
    "epub": "application/epub+zip",
    "msg": "application/vnd.ms-outlook",
    "eml": "message/rfc822",
    "html": "text/html",
    "markdown": "text/markdown",
    "rst": "text/x-rst",
    "org": "text/x-org",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "xml": "application/xml",
    "code": "text/x-source-code",
    "text": "text/plain",
}

ZIP_MARK = b"PK\x03\x04"
_ZIP_MARKS = {
    "word/document.xml": "docx",
    "ppt/presentation.xml": "pptx",
    "xl/workbook.xml": "xlsx",
    "META-INF/container.xml": "epub",
}
_OLE_STREAMS = {  # names of streams in the compound file's directory
    "WordDocument": "doc",
    "PowerPoint Document": "ppt",
    "Workbook": "xls",
    "Book": "xls",
    "__properties_version1.0": "msg",
}
_LONGEST_MARK_BYTES = 64
_UNSUPPORTED = (
    (re.compile(rb"\x89PNG\r\n"), "a PNG image"),
    (re.compile(rb"\xff\xd8\xff"), "a JPEG image"),
    (re.compile(rb"GIF8[79]a"), "a GIF image"),
    (re.compile(rb"II\*\0|MM\0\*"), "a TIFF image"),
    (re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL), "a BMP image"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "a WebP image"),
    (re.compile(rb"....ftyp(?:hei[cfxms]|mif1|msf1|avif)", re.DOTALL), "a HEIC or AVIF image"),
    (re.compile(rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3", re.DOTALL), "a video"),
    (re.compile(rb"ID3|OggS|fLaC|RIFF....WAVE|\xff[\xfb\xf3\xf2]", re.DOTALL), "a sound file"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ\0|7z\xbc\xaf|Rar!\x1a|\x28\xb5\x2f\xfd"), "a compressed archive"),
    (re.compile(rb"\x7fELF|MZ|\xca\xfe\xba\xbe|\xcf\xfa\xed\xfe|\0asm"), "a program"),
    (re.compile(rb"SQLite format 3\0"), "a database"),
    (re.compile(rb"%!PS"), "a PostScript file"),
)
DEFAULT_MAX_TEXT_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 128 * 1024
_PIECE_BYTES = 1024 * 1024


class Format(msgspec.Struct, frozen=True):
    """A format and, for the text formats, the decoded text."""

    doc_type: str
    media_type: str
    text: str | None = None


def sniff(
    file: BinaryIO,
    file_name: str,
    declared_type: str | None = None,
    max_text_bytes: int = DEFAULT_MAX_TEXT_BYTES,
) -> Format:
    """Return the format of `file`, which is open at its beginning; only a text is read as a whole.

    `file_name` and `declared_type` (a media type) only decide between kinds of text. Raises
    `EmptyDocumentError`, `UnsupportedFormatError`, `EncryptedDocumentError`, `CorruptDocumentError`
    or `DocumentTooLargeError`.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        raise EmptyDocumentError("The file has 0 bytes.")
    if doc_type := _sniff_binary(file, head):
        return Format(doc_type, _MEDIA_TYPES[doc_type])
    _refuse_known(head)
    text = None
    if letter_bytes := character_bytes(head):
        refuse_large(size_bytes // letter_bytes, max_text_bytes)
        file.seek(0)
        text = decode(file.read())
    if text is None:
        raise UnsupportedFormatError("The file is binary data of no known document format.")
    if not text.strip():
        raise EmptyDocumentError("The file holds only blanks.")
    doc_type = sniff_text(text, PurePath(file_name).suffix.lower(), declared_type)
    return Format(doc_type, _MEDIA_TYPES[doc_type], text)


def _sniff_binary(file: BinaryIO, head: bytes) -> str | None:
    if b"%PDF-" in head[:1024] and (head.lstrip().startswith(b"%PDF-") or decode(head[:4096]) is None):
        # Readers take a PDF with something in front of it; a text that speaks of PDF is none.
        return "pdf"
    if head.startswith(b"{\\rtf"):
        return "rtf"
    if head.startswith(ZIP_MARK):
        return _sniff_zip(file)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _sniff_ole(file)
    return None


def _refuse_known(data: bytes) -> None:
    for pattern, name in _UNSUPPORTED:
        # A two-letter mark ("MZ", "BM") may also begin a sentence.
        if pattern.match(data) and decode(data[:4096]) is None:
            raise UnsupportedFormatError(f"The file is {name}, not a document with text.")


def _sniff_zip(file: BinaryIO) -> str:
    with archives.open_archive(file) as archive:
        doc_type = _zip_type(set(archive.namelist()), archives.first_bytes(archive, "mimetype", 100).strip())
        archives.inspect(archive)
    return doc_type


def _zip_type(names: Container[str], kind: bytes) -> str:
    for doc_type in ("odt", "ods", "odp", "epub"):
        if kind == _MEDIA_TYPES[doc_type].encode():
            return doc_type
    for mark, doc_type in _ZIP_MARKS.items():
        if mark in names:
            return doc_type
    if "xl/workbook.bin" in names:
        raise UnsupportedFormatError("The file is a binary Excel workbook (XLSB); save it as XLSX.")
    raise UnsupportedFormatError("The file is a zip archive, not a document; upload the files in it.")


def _sniff_ole(file: BinaryIO) -> str:
    marks = {name: name.encode("utf-16-le") + b"\0\0" for name in ("EncryptedPackage", *_OLE_STREAMS)}
    found: set[str] = set()
    file.seek(0)
    tail = b""
    while piece := file.read(_PIECE_BYTES):
        window = tail + piece
        found.update(name for name, mark in marks.items() if mark in window)
        tail = window[-_LONGEST_MARK_BYTES:]
    if "EncryptedPackage" in found:
        raise EncryptedDocumentError("The Office file asks for a password.")
    for name, doc_type in _OLE_STREAMS.items():
        if name in found:
            return doc_type
    raise UnsupportedFormatError("The file is an OLE container of no known document format.")
