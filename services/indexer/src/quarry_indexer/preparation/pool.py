"""Parsing and chunking in supervised child processes.

No file harms more than its own parser, and the service's event loop has its processor to itself.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from quarry_common.errors import UnavailableError
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.parsing.errors import (
    DocumentTooLargeError,
    ParseCrashedError,
    ParseError,
    ParseOutOfMemoryError,
    ParseTimeoutError,
    parse_error,
)
from quarry_indexer.preparation.protocol import (
    CHILD_MODULE,
    LENGTH_BYTES,
    Answer,
    ChunkedDocument,
    Limits,
    Ready,
    Refused,
    Request,
    frame,
)
from quarry_indexer.preparation.settings import ParserSettings

_MEGABYTE = 1024 * 1024
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 10.0
_WATCH_INTERVAL_SECONDS = 0.05
# Libraries reserve far more address space than they use, so the resident size is what is watched; the
# address space only stops an allocation too sudden for the watch.
_ADDRESS_SPACE_FACTOR = 2
_ADDRESS_SPACE_EXTRA_MB = 2048
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
# Beside the text an answer names each chunk by its place and headings.
_ANSWER_BYTES_PER_TEXT_BYTE = 4
_ANSWER_EXTRA_BYTES = 16 * _MEGABYTE


class ParserPool:
    """Parser processes kept warm, one document at a time each; use it as an async context manager."""

    def __init__(self, settings: ParserSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.parser_processes)
        self._idle: list[_Child] = []
        self._open = False

    async def __aenter__(self) -> "ParserPool":
        self._open = True
        try:
            for _ in range(self._settings.parser_processes):
                self._idle.append(await _Child.start(self._settings))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def prepare(
        self, path: Path, file_name: str, declared_type: str | None, options: ChunkOptions
    ) -> ChunkedDocument:
        """Return the text and the chunks of the file at `path`, which the uploader called `file_name`.

        Waits for a free process. Raises a subclass of `ParseError` that tells what is wrong with this
        document, or `UnavailableError` if no parser process can be started. Cancelling kills the process.
        """
        if not self._open:
            raise UnavailableError("The parser pool is not open.")
        request = Request(str(path), file_name, declared_type, options)
        async with self._slots:
            child = await self._take()
            reusable = False
            try:
                answer = await child.ask(request)
                reusable = child.served < self._settings.parser_recycle_documents and self._open
            finally:
                if reusable:
                    self._idle.append(child)
                else:
                    await asyncio.shield(child.kill())
        if isinstance(answer, Refused):
            raise parse_error(answer.error)
        return answer

    async def _take(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.kill()
        return await _Child.start(self._settings)

    def process_ids(self) -> tuple[int, ...]:
        """Return the ids of the idle processes."""
        return tuple(child.pid for child in self._idle)

    async def _close(self) -> None:
        self._open = False
        while self._idle:
            await self._idle.pop().kill()


class _Child:
    """One parser process."""

    def __init__(self, process: asyncio.subprocess.Process, settings: ParserSettings) -> None:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._settings = settings
        self._peak_bytes = 0
        self.pid = process.pid
        self.served = 0

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        if self._process.returncode is not None:
            return False
        # The loop may not have heard of its end yet; the kernel has.
        return sys.platform != "linux" or bool(_resident_bytes(self.pid))

    @classmethod
    async def start(cls, settings: ParserSettings) -> "_Child":
        """Start a process and wait until it is ready. Raises `UnavailableError`."""
        memory_mb = settings.parser_memory_mb * _ADDRESS_SPACE_FACTOR + _ADDRESS_SPACE_EXTRA_MB
        limits = Limits(
            parent_pid=os.getpid(),
            address_space_bytes=memory_mb * _MEGABYTE,
            max_text_bytes=settings.parser_max_text_mb * _MEGABYTE,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            CHILD_MODULE,
            msgspec.json.encode(limits).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Its start-up errors belong in the service's log; later it sends its own to nowhere.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        child = cls(process, settings)
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                await child._read()
        except (TimeoutError, asyncio.IncompleteReadError):
            await child.kill()
            raise UnavailableError("A parser process did not start.") from None
        except BaseException:
            await asyncio.shield(child.kill())
            raise
        return child

    async def ask(self, request: Request) -> ChunkedDocument | Refused:
        """Return the child's answer. Raises a `ParseError`, after which the child must be killed."""
        self.served += 1
        self._peak_bytes = 0
        watch = asyncio.create_task(self._watch_memory())
        try:
            async with asyncio.timeout(self._settings.parser_timeout_seconds):
                self._stdin.write(frame(request))
                await self._stdin.drain()
                answer = await self._read()
        except TimeoutError:
            raise ParseTimeoutError(
                f"Reading the document was stopped after {self._settings.parser_timeout_seconds:g} s."
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._death() from None
        finally:
            watch.cancel()
        if isinstance(answer, Ready):
            raise ParseCrashedError("The parser process lost its place.")
        return answer

    async def kill(self) -> None:
        """End the process and wait until it is gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._stdin.close()
        async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
            while not self._stdout.at_eof():
                await self._stdout.read(_MEGABYTE)
            await self._process.wait()

    async def _read(self) -> Answer:
        length = int.from_bytes(await self._stdout.readexactly(LENGTH_BYTES), "big")
        text_bytes = self._settings.parser_max_text_mb * _MEGABYTE
        if length > text_bytes * _ANSWER_BYTES_PER_TEXT_BYTE + _ANSWER_EXTRA_BYTES:
            raise DocumentTooLargeError(f"The parser's answer has {length} bytes, more than is allowed.")
        body = await self._stdout.readexactly(length)
        try:
            return _ANSWERS.decode(body)
        except msgspec.DecodeError as error:
            raise ParseCrashedError(f"The parser's answer cannot be read: {error}") from None

    async def _watch_memory(self) -> None:
        limit_bytes = self._settings.parser_memory_mb * _MEGABYTE
        while True:
            resident_bytes = _resident_bytes(self.pid)
            if resident_bytes is None:
                return
            self._peak_bytes = max(self._peak_bytes, resident_bytes)
            if resident_bytes > limit_bytes:
                self._process.kill()  # `ask` sees the pipe close and reads the peak
                return
            await asyncio.sleep(_WATCH_INTERVAL_SECONDS)

    async def _death(self) -> ParseError:
        """Why the process died while it read a document."""
        async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
            code = await self._process.wait()
        limit_mb = self._settings.parser_memory_mb
        # SIGKILL is the watch or the kernel's out-of-memory killer; a failed allocation aborts.
        aborted_large = code == -signal.SIGABRT and self._peak_bytes > limit_mb * _MEGABYTE // 2
        if code == -signal.SIGKILL or aborted_large:
            return ParseOutOfMemoryError(
                f"Reading the document was stopped at {self._peak_bytes // _MEGABYTE} MB; "
                f"the limit is {limit_mb} MB."
            )
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ParseCrashedError(f"The parser process ended with {how}.")


def _resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None where it is gone or the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
    except OSError:
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
