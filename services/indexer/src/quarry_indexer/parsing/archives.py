"""Zip archives, before a reader opens them: what they unpack to, whether they lie about it, how they nest.

Readers allocate what a part unpacks to and descend once for each open element. So that no archive makes them
take more than its document is worth, every part is unpacked here once, in pieces that are thrown away.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO
from xml.parsers import expat

from quarry_indexer.parsing.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EncryptedDocumentError,
)

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""What a zipped format may unpack to; beyond it is a bomb or no document."""
MAX_ENTRIES = 20_000
MAX_XML_DEPTH = 500
"""Open elements; deeper than any program writes."""
# Text hardly packs to less than a fiftieth. A small part may: it harms nobody.
_MAX_RATIO = 100
_RATIO_FROM_BYTES = 32 * 1024 * 1024
_XML_SUFFIXES = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".smil")
_PIECE_BYTES = 256 * 1024
_LOCAL_HEADER_BYTES = 30
# The longest comment that may follow the end of the directory, and both of its ends.
_END_BYTES = 65_536 + 22 + 20
_MAX_DIRECTORY_BYTES = 8 * 1024 * 1024
# What `zipfile` raises for damage: offsets outside the file (OSError, ValueError), an end too early, unknown
# methods and encryption (both RuntimeError), and what the decompressor says.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Return the archive in `file`, judged by its directory alone.

    Raises `CorruptDocumentError`, `DocumentTooLargeError` or `EncryptedDocumentError`.
    """
    size_bytes = file.seek(0, 2)
    if _MAX_DIRECTORY_BYTES < _directory_bytes(file, size_bytes) <= size_bytes:
        raise DocumentTooLargeError(f"The file has many more parts than {MAX_ENTRIES}, which is the limit.")
    try:
        archive = zipfile.ZipFile(file)
    except _UNREADABLE as error:
        raise CorruptDocumentError(
            f"The file begins as a zip archive but cannot be opened: {error}."
        ) from None
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES or len(entries) > MAX_ENTRIES:
        raise DocumentTooLargeError(
            f"The file unpacks to {unpacked // 1_000_000} MB in {len(entries)} parts; "
            f"the limit is {MAX_UNPACKED_BYTES // 1_000_000} MB in {MAX_ENTRIES}."
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise EncryptedDocumentError("The parts of the file are encrypted.")
    for entry in entries:
        _judge(entry, size_bytes)
    return archive


def first_bytes(archive: zipfile.ZipFile, name: str, size_bytes: int) -> bytes:
    """Return the beginning of a part, nothing if there is no such part or it cannot be read."""
    with suppress(KeyError, *_UNREADABLE), archive.open(name) as part:
        return part.read(size_bytes)
    return b""


def inspect(archive: zipfile.ZipFile) -> None:
    """Unpack every part and throw it away.

    Raises `CorruptDocumentError` for a part that is larger than the archive states, that declares entities of
    its own or nests its elements beyond reason.
    """
    for entry in archive.infolist():
        depth = _Depth(entry.filename) if entry.filename.lower().endswith(_XML_SUFFIXES) else None
        size_bytes = 0
        for piece in _unpacked(archive, entry):
            size_bytes += len(piece)
            if size_bytes > entry.file_size:
                raise CorruptDocumentError(
                    f"The part {entry.filename[:100]} is larger than the {entry.file_size} bytes that the "
                    "archive states."
                )
            if depth:
                depth.feed(piece)


def damaged_part(archive: zipfile.ZipFile) -> str | None:
    """Return a part whose size or checksum is not what the archive states, if any.

    Readers pass over such a part in silence. No more is unpacked than the archive states.
    """
    for entry in archive.infolist():
        try:
            with archive.open(entry) as part:
                while part.read(_PIECE_BYTES):
                    pass
        except _UNREADABLE:
            return entry.filename[:100]
    return None


def _directory_bytes(file: BinaryIO, file_bytes: int) -> int:
    """Return how long the archive says its directory is: the library makes objects of all of it at once.

    Format: PKWARE's APPNOTE, 4.3.14 to 4.3.16.
    """
    file.seek(max(0, file_bytes - _END_BYTES))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    size_bytes = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if size_bytes == 0xFFFFFFFF and (locator := tail.rfind(b"PK\6\7", 0, at)) >= 0:
        file.seek(min(file_bytes, int.from_bytes(tail[locator + 8 : locator + 16], "little")))
        size_bytes = int.from_bytes(file.read(56)[40:48], "little")
    return size_bytes


def _judge(entry: zipfile.ZipInfo, file_bytes: int) -> None:
    name = entry.filename[:100]
    if not 0 <= entry.header_offset < file_bytes:
        raise CorruptDocumentError(f"The part {name} is not in the file, which may have been cut off.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CorruptDocumentError(f"The part {name} is packed in a way that no document format allows.")
    if entry.file_size > _RATIO_FROM_BYTES and entry.file_size > entry.compress_size * _MAX_RATIO:
        raise DocumentTooLargeError(
            f"The part {name} unpacks from {entry.compress_size} bytes to {entry.file_size // 1_000_000} MB; "
            f"beyond {_RATIO_FROM_BYTES // 1_000_000} MB no part may unpack to more than {_MAX_RATIO} times "
            "its size."
        )


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield all that a part really holds; `ZipFile.open` would stop at the size that the archive states."""
    file = archive.fp
    assert file is not None  # noqa: S101 - the archive is open
    file.seek(entry.header_offset)
    head = file.read(_LOCAL_HEADER_BYTES)
    file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
    left = entry.compress_size
    inflate = zlib.decompressobj(-15) if entry.compress_type == zipfile.ZIP_DEFLATED else None
    while left > 0 and (packed := file.read(min(left, _PIECE_BYTES))):
        left -= len(packed)
        if inflate is None:
            yield packed
            continue
        try:
            while packed and not inflate.eof:
                yield inflate.decompress(packed, _PIECE_BYTES)
                packed = inflate.unconsumed_tail
        except zlib.error:
            return  # damage is told where it matters: when no text is found


class _Depth:
    """Follows the elements of one part; what is no XML is left to its reader."""

    def __init__(self, name: str) -> None:
        self._name = name[:100]
        self._depth = 0
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser: expat.XMLParserType | None = parser

    def feed(self, piece: bytes) -> None:
        if self._parser:
            try:
                self._parser.Parse(piece, False)
            except (expat.ExpatError, ValueError, LookupError):
                self._parser = None

    def _start(self, _name: str, _attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_XML_DEPTH:
            raise CorruptDocumentError(
                f"The part {self._name} nests its elements more than {MAX_XML_DEPTH} deep."
            )

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _doctype(self, _name: str, _system: str | None, _public: str | None, has_subset: bool) -> None:
        if has_subset:
            raise CorruptDocumentError(f"The part {self._name} declares entities, as no program does.")
