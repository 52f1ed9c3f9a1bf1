"""Which format a file has, told from its bytes; the name only breaks ties between kinds of text."""

import re
import zipfile
import zlib
from io import BytesIO
from pathlib import PurePath

import msgspec

from quarry_indexer.parsing.decoding import decode
from quarry_indexer.parsing.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    EncryptedDocumentError,
    UnsupportedFormatError,
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
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""What a zipped format may unpack to; beyond it is a bomb or no document."""
_MAX_ZIP_ENTRIES = 20_000


class Format(msgspec.Struct, frozen=True):
    """A format and, for the text formats, the decoded text."""

    doc_type: str
    media_type: str
    text: str | None = None


def sniff(data: bytes, file_name: str, declared_type: str | None = None) -> Format:
    """Return the format of `data`.

    `file_name` and `declared_type` (a media type) only decide between kinds of text. Raises
    `EmptyDocumentError`, `UnsupportedFormatError`, `EncryptedDocumentError`, `CorruptDocumentError`
    or `DocumentTooLargeError`.
    """
    if not data.strip():
        raise EmptyDocumentError(f"The file has {len(data)} bytes and no content.")
    if doc_type := _sniff_binary(data):
        return Format(doc_type, _MEDIA_TYPES[doc_type])
    _refuse_known(data)
    text = decode(data)
    if text is None:
        raise UnsupportedFormatError("The file is binary data of no known document format.")
    if not text.strip():
        raise EmptyDocumentError("The file holds only blanks.")
    doc_type = sniff_text(text, PurePath(file_name).suffix.lower(), declared_type)
    return Format(doc_type, _MEDIA_TYPES[doc_type], text)


def _sniff_binary(data: bytes) -> str | None:
    if b"%PDF-" in data[:1024] and (data.lstrip().startswith(b"%PDF-") or decode(data[:4096]) is None):
        # Readers take a PDF with something in front of it; a text that speaks of PDF is none.
        return "pdf"
    if data.startswith(b"{\\rtf"):
        return "rtf"
    if data.startswith(b"PK\x03\x04"):
        return _sniff_zip(data)
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _sniff_ole(data)
    return None


def _refuse_known(data: bytes) -> None:
    for pattern, name in _UNSUPPORTED:
        # A two-letter mark ("MZ", "BM") may also begin a sentence.
        if pattern.match(data) and decode(data[:4096]) is None:
            raise UnsupportedFormatError(f"The file is {name}, not a document with text.")


def _sniff_zip(data: bytes) -> str:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
            kind = archive.read("mimetype")[:100] if "mimetype" in archive.NameToInfo else b""
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CorruptDocumentError(
            f"The file begins as a zip archive but cannot be opened: {error}"
        ) from None
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES or len(entries) > _MAX_ZIP_ENTRIES:
        raise DocumentTooLargeError(
            f"The file unpacks to {unpacked // 1_000_000} MB in {len(entries)} parts; "
            f"the limit is {MAX_UNPACKED_BYTES // 1_000_000} MB in {_MAX_ZIP_ENTRIES}."
        )
    names = {entry.filename for entry in entries}
    if any(entry.flag_bits & 1 for entry in entries):
        raise EncryptedDocumentError("The parts of the file are encrypted.")
    for doc_type in ("odt", "ods", "odp", "epub"):
        if kind.strip() == _MEDIA_TYPES[doc_type].encode():
            return doc_type
    for mark, doc_type in _ZIP_MARKS.items():
        if mark in names:
            return doc_type
    if "xl/workbook.bin" in names:
        raise UnsupportedFormatError("The file is a binary Excel workbook (XLSB); save it as XLSX.")
    raise UnsupportedFormatError("The file is a zip archive, not a document; upload the files in it.")


def damaged_part(data: bytes) -> str | None:
    """Return a part of a zipped format whose size or checksum is not what the archive states, if any.

    Readers pass over such a part in silence. No more is unpacked than the archive states.
    """
    if not data.startswith(b"PK\x03\x04"):
        return None
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as part:
                    while part.read(1 << 20):
                        pass
            except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error, NotImplementedError):
                return entry.filename[:100]
    return None


def _sniff_ole(data: bytes) -> str:
    def has_stream(name: str) -> bool:
        return name.encode("utf-16-le") + b"\0\0" in data

    if has_stream("EncryptedPackage"):
        raise EncryptedDocumentError("The Office file asks for a password.")
    for name, doc_type in _OLE_STREAMS.items():
        if has_stream(name):
            return doc_type
    raise UnsupportedFormatError("The file is an OLE container of no known document format.")
