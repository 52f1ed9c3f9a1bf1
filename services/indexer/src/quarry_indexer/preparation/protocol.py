"""What goes through the pipes between a service and its parser processes.

Each frame is a sign for its kind (one byte), the length of its body (four bytes, big-endian) and the body.
The child says `READY` once. It answers each `REQUEST` either with `REFUSED`, or with a `HEADER`, the text in
UTF-8 (`TEXT`, pieces of at most 1 MiB) and the chunks (`CHUNKS`, pages of at most 1000), as many as the
header tells.
"""

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from quarry_common.errors import ErrorData
from quarry_indexer.chunking.chunk import Chunk, ChunkOptions

CHILD_MODULE = "quarry_indexer.preparation.child"
HEAD_BYTES = 5
READY, REQUEST, HEADER, REFUSED, TEXT, CHUNKS = b"R", b"Q", b"H", b"E", b"T", b"C"
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""What no body exceeds."""
PAGE_CHUNKS = 1000

# The headings above neighbouring chunks repeat; without this the pages of a long document could outgrow it.
_COMPRESSED_BYTES = 64 * 1024
_RAW, _DEFLATED = b"\0", b"\1"


class Limits(msgspec.Struct, frozen=True):
    """What a child may take; given on its command line."""

    parent_pid: int
    address_space_bytes: int
    max_text_bytes: int


class Request(msgspec.Struct, frozen=True):
    """Read one file and cut its text."""

    path: str
    file_name: str
    declared_type: str | None
    options: ChunkOptions


class Header(msgspec.Struct, frozen=True):
    """What a document is, and how much of it follows."""

    title: str
    doc_type: str
    media_type: str
    page_count: int | None
    text_bytes: int
    text_characters: int
    chunk_count: int


def frame(kind: bytes, body: bytes) -> bytes:
    """Return `body` as it goes through the pipe."""
    return kind + len(body).to_bytes(HEAD_BYTES - 1, "big") + body


def frame_head(head: bytes) -> tuple[bytes, int]:
    """Return the kind of a frame and the length of its body."""
    return head[:1], int.from_bytes(head[1:], "big")


def encode(message: Request | Header | ErrorData) -> bytes:
    """Return a message as a body."""
    return msgspec.msgpack.encode(message)


decode_request = msgspec.msgpack.Decoder(Request).decode
decode_header = msgspec.msgpack.Decoder(Header).decode
decode_error = msgspec.msgpack.Decoder(ErrorData).decode
_decode_page = msgspec.msgpack.Decoder(list[Chunk]).decode


def encode_pages(chunks: Iterable[Chunk]) -> Iterator[tuple[int, bytes]]:
    """Yield pages of chunks as bodies, each with its number of chunks."""
    source = iter(chunks)
    while page := list(islice(source, PAGE_CHUNKS)):
        body = msgspec.msgpack.encode(page)
        if len(body) <= _COMPRESSED_BYTES:
            yield len(page), _RAW + body
        else:
            yield len(page), _DEFLATED + zlib.compress(body, 1)


def decode_page(body: bytes) -> list[Chunk]:
    """Return the chunks of a page. Raises `msgspec.DecodeError` or `zlib.error` where it is none."""
    if body[:1] == _DEFLATED:
        return _decode_page(zlib.decompressobj().decompress(memoryview(body)[1:], MAX_FRAME_BYTES))
    return _decode_page(memoryview(body)[1:])
