"""Parsing and chunking in supervised child processes.

No file harms more than its own parser, and the service's event loop has its processor to itself. What a
parser finds is handed over piece by piece: until it is taken the pipe between them is full, and it waits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

from quarry_common.errors import UnavailableError
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.preparation.prepared import PreparedDocument
from quarry_indexer.preparation.process import ParserProcess
from quarry_indexer.preparation.protocol import Request
from quarry_indexer.preparation.settings import ParserSettings
from quarry_indexer.preparation.turns import Turns

TAKE_SECONDS = 60.0


class ParserPool:
    """Parser processes kept warm, one document at a time each; use it as an async context manager.

    `parser_processes` read at a time, those who wait are served in rotation by owner, and an owner of whom
    nothing is read may use one process more when all are taken. A consumer that does not ask for the next
    piece of its document within `take_seconds` is stopped.
    """

    def __init__(self, settings: ParserSettings, *, take_seconds: float = TAKE_SECONDS) -> None:
        self._settings = settings
        self._take_seconds = take_seconds
        self._turns = Turns(settings.parser_processes)
        self._idle: list[ParserProcess] = []
        self._open = False

    async def __aenter__(self) -> "ParserPool":
        self._open = True
        try:
            for _ in range(self._settings.parser_processes):
                self._idle.append(await ParserProcess.start(self._settings))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @asynccontextmanager
    async def prepare(
        self,
        path: Path,
        file_name: str,
        declared_type: str | None,
        options: ChunkOptions,
        *,
        owner: str,
        alone: bool = False,
    ) -> AsyncIterator[PreparedDocument]:
        """Read and cut the file at `path`, which the uploader called `file_name`; it is never written to.

        Waits for the turn of `owner`. With `alone`, a fresh process reads the file while this pool reads no
        other. Raises a subclass of `ParseError` that tells what is wrong with this document, or
        `UnavailableError` if no parser process can be started or the pieces are not taken in time.
        Leaving before all was taken, by an error or a cancellation too, kills the process.
        """
        turn = await self._turns.take(owner, alone=alone)
        try:
            child = await self._process(fresh=alone)
            document = None
            try:
                header = await child.ask(Request(str(path), file_name, declared_type, options))
                async with asyncio.timeout(None) as deadline:
                    document = PreparedDocument(header, child, deadline, self._take_seconds)
                    yield document
            except TimeoutError:
                if document is None or not document.is_late:
                    raise
                raise UnavailableError(
                    f"The document was not taken within {self._take_seconds:g} s from its parser process."
                ) from None
            finally:
                await self._put_back(
                    child, free=child.is_free or (document is not None and document.is_taken)
                )
        finally:
            turn.give_back()

    def process_ids(self) -> tuple[int, ...]:
        """Return the ids of the idle processes."""
        return tuple(child.pid for child in self._idle)

    async def _process(self, *, fresh: bool) -> ParserProcess:
        if not self._open:
            raise UnavailableError("The parser pool is not open.")
        if fresh:
            while len(self._idle) > self._settings.parser_processes:
                await self._idle.pop().kill()
        while self._idle and not fresh:
            child = self._idle.pop()
            if child.alive:
                return child
            await asyncio.shield(child.kill())
        return await ParserProcess.start(self._settings)

    async def _put_back(self, child: ParserProcess, *, free: bool) -> None:
        child.unwatch()
        fresh_enough = child.is_small and child.served < self._settings.parser_recycle_documents
        # The one beyond the count stays too: it may be needed again and again, and a start takes a second.
        if free and fresh_enough and self._open:
            self._idle.append(child)
        else:
            await asyncio.shield(child.kill())

    async def _close(self) -> None:
        self._open = False
        while self._idle:
            await self._idle.pop().kill()
