"""A document that its parser process hands over piece by piece."""

import asyncio
import zlib
from collections.abc import AsyncIterator

import msgspec

from quarry_indexer.chunking.chunk import Chunk
from quarry_indexer.preparation.process import ParserProcess
from quarry_indexer.preparation.protocol import CHUNKS, TEXT, Header, decode_page


class PreparedDocument:
    """What a file holds. Text and chunks are still in the parser process; each can be taken once.

    Taking a piece raises a `ParseError` when the process fails meanwhile.
    """

    title: str
    """Found in the document; empty if there is none."""
    doc_type: str
    media_type: str
    page_count: int | None
    text_bytes: int
    """Length of the extracted text in UTF-8."""
    text_characters: int
    chunk_count: int

    def __init__(
        self, header: Header, child: ParserProcess, deadline: asyncio.Timeout, take_seconds: float
    ) -> None:
        self.title = header.title
        self.doc_type = header.doc_type
        self.media_type = header.media_type
        self.page_count = header.page_count
        self.text_bytes = header.text_bytes
        self.text_characters = header.text_characters
        self.chunk_count = header.chunk_count
        self._text_left = header.text_bytes
        self._chunks_left = header.chunk_count
        self._child = child
        self._deadline = deadline
        self._take_seconds = take_seconds
        self._now = asyncio.get_running_loop().time
        deadline.reschedule(self._now() + take_seconds)

    async def text(self) -> AsyncIterator[bytes]:
        """Yield the text in UTF-8, in pieces of at most 1 MiB; before `chunks`."""
        while self._text_left:
            piece = await self._next(TEXT)
            if not 0 < len(piece) <= self._text_left:
                raise self._child.lost("the text is not as long as it said")
            self._text_left -= len(piece)
            yield piece

    async def chunks(self) -> AsyncIterator[list[Chunk]]:
        """Yield the chunks in order, in pages of at most 1000; what is left of the text is passed over."""
        async for _ in self.text():
            pass
        while self._chunks_left:
            body = await self._next(CHUNKS)
            try:
                page = decode_page(body)
            except (msgspec.DecodeError, zlib.error) as error:
                raise self._child.lost(str(error)) from None
            if not 0 < len(page) <= self._chunks_left:
                raise self._child.lost("there are not as many chunks as it said")
            self._chunks_left -= len(page)
            yield page

    @property
    def is_taken(self) -> bool:
        """Whether everything has been taken, so that the process is free."""
        return not self._text_left and not self._chunks_left

    @property
    def is_late(self) -> bool:
        """Whether the consumer was stopped because it did not ask for the next piece in time."""
        return self._deadline.expired()

    async def _next(self, kind: bytes) -> bytes:
        self._deadline.reschedule(None)  # it is the child's turn, which has a deadline of its own
        try:
            return await self._child.next_frame(kind)
        finally:
            self._deadline.reschedule(self._now() + self._take_seconds)
