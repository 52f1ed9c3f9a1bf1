"""What the tests of this folder share: settings, pools and documents read as a whole."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from quarry_common.settings import load
from quarry_indexer.chunking.chunk import Chunk, ChunkOptions
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.preparation.settings import ParserSettings

SMALL = ChunkOptions(16, 0)


class Taken(NamedTuple):
    """A document that has been taken as a whole."""

    title: str
    doc_type: str
    page_count: int | None
    text: str
    chunks: list[Chunk]


def settings(**variables: str) -> ParserSettings:
    """Return settings of one process, unless they say otherwise."""
    return load(ParserSettings, {"PARSER_PROCESSES": "1", **variables})


async def take(
    pool: ParserPool, path: Path, file_name: str, *, owner: str = "one", alone: bool = False
) -> Taken:
    """Read a file and take everything."""
    async with pool.prepare(path, file_name, None, SMALL, owner=owner, alone=alone) as document:
        pieces = [piece async for piece in document.text()]
        pages = [page async for page in document.chunks()]
    text = b"".join(pieces)
    chunks = [chunk for page in pages for chunk in page]
    assert all(0 < len(piece) <= 1024 * 1024 for piece in pieces)
    assert all(0 < len(page) <= 1000 for page in pages)
    assert (document.text_bytes, document.chunk_count) == (len(text), len(chunks))
    assert document.text_characters == len(text.decode())
    return Taken(document.title, document.doc_type, document.page_count, text.decode(), chunks)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended but is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
