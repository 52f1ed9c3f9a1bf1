"""What goes through the pipes between a service and its parser processes.

Each message is a MessagePack body behind its length (four bytes, big-endian). The child says `Ready` once,
then answers each `Request` with one `Answer`.
"""

import msgspec

from quarry_common.errors import ErrorData
from quarry_indexer.chunking.chunk import Chunk, ChunkOptions
from quarry_indexer.parsing.document import ParsedDocument

LENGTH_BYTES = 4
CHILD_MODULE = "quarry_indexer.preparation.child"


class Limits(msgspec.Struct, frozen=True):
    """What a child may take; given on its command line."""

    parent_pid: int
    address_space_bytes: int
    max_text_bytes: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child has loaded its libraries and waits for requests."""


class Request(msgspec.Struct, frozen=True):
    """Read one file and cut its text."""

    path: str
    file_name: str
    declared_type: str | None
    options: ChunkOptions


class ChunkedDocument(msgspec.Struct, frozen=True, tag=True):
    """A document's text and where its chunks lie in it."""

    document: ParsedDocument
    chunks: tuple[Chunk, ...]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Why there is no document."""

    error: ErrorData


Answer = Ready | ChunkedDocument | Refused


def frame(message: Request | Answer) -> bytes:
    """Return `message` as it goes through the pipe."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
