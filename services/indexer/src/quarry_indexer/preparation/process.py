"""One parser process, seen from the service: requests, frames, deadlines and its memory."""

import asyncio
import os
import signal
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from quarry_common.errors import UnavailableError
from quarry_indexer.parsing.errors import (
    ParseCrashedError,
    ParseError,
    ParseOutOfMemoryError,
    ParseTimeoutError,
    parse_error,
)
from quarry_indexer.preparation.protocol import (
    CHILD_MODULE,
    HEAD_BYTES,
    HEADER,
    MAX_FRAME_BYTES,
    READY,
    REFUSED,
    REQUEST,
    Header,
    Limits,
    Request,
    decode_error,
    decode_header,
    encode,
    frame,
    frame_head,
)
from quarry_indexer.preparation.settings import ParserSettings

_MEGABYTE = 1024 * 1024
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 10.0
_WATCH_INTERVAL_SECONDS = 0.05
_PIPE_BYTES = 256 * 1024
"""What is read ahead of the consumer, at most twice."""
# Libraries reserve far more address space than they use, so the resident size is what is watched; the
# address space only stops an allocation too sudden for the watch.
_ADDRESS_SPACE_FACTOR = 2
_ADDRESS_SPACE_EXTRA_MB = 2048
# An allocator keeps what a large document took; the next one should not start with it.
_REUSE_SHARE = 4


class ParserProcess:
    """A child that reads one document at a time. Whoever gets an error other than a refusal must kill it."""

    def __init__(self, process: asyncio.subprocess.Process, settings: ParserSettings) -> None:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._timeout_seconds = settings.parser_timeout_seconds
        self._limit_bytes = settings.parser_memory_mb * _MEGABYTE
        self._peak_bytes = 0
        self._watch: asyncio.TimerHandle | None = None
        self.pid = process.pid
        self.served = 0
        self.is_free = True
        """Whether it has nothing left to hand over."""

    @classmethod
    async def start(cls, settings: ParserSettings) -> "ParserProcess":
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
            limit=_PIPE_BYTES,
            # Its start-up errors belong in the service's log; later it sends its own to nowhere.
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "TMPDIR": str(_private_folder()),
            },
        )
        child = cls(process, settings)
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                kind, _ = await child._read()
        except (TimeoutError, asyncio.IncompleteReadError):
            kind = b""
        except BaseException:
            await asyncio.shield(child.kill())
            raise
        if kind != READY:
            await asyncio.shield(child.kill())
            raise UnavailableError("A parser process did not start.")
        return child

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        if self._process.returncode is not None:
            return False
        # The loop may not have heard of its end yet; the kernel has.
        return sys.platform != "linux" or bool(_resident_bytes(self.pid))

    @property
    def is_small(self) -> bool:
        """Whether no document has left it with much more memory than it began with."""
        return self._peak_bytes * _REUSE_SHARE < self._limit_bytes

    async def ask(self, request: Request) -> Header:
        """Return the header of the answer; its frames follow. Raises a `ParseError`.

        The time allowed is that for reading and cutting the document.
        """
        self.served += 1
        self.is_free = False
        self.watch()
        self._stdin.write(frame(REQUEST, encode(request)))
        kind, body = await self._timely()
        try:
            if kind == HEADER:
                return decode_header(body)
            refused = decode_error(body) if kind == REFUSED else None
        except msgspec.DecodeError as broken:
            raise self.lost(str(broken)) from None
        if refused is None:
            raise self.lost(f"it said {kind!r}")
        error = parse_error(refused)
        self.is_free = not error.killed_child  # else its memory may be in pieces
        raise error

    async def next_frame(self, kind: bytes) -> bytes:
        """Return the body of the next frame, which must be of `kind`. Raises a `ParseError`."""
        found, body = await self._timely()
        if found != kind:
            raise self.lost(f"it said {found!r} for {kind!r}")
        return body

    def lost(self, detail: str) -> ParseCrashedError:
        """Return the error of an answer that is none."""
        return ParseCrashedError(f"The parser process lost its place: {detail}"[:500])

    def watch(self) -> None:
        """Look at its memory again and again; kill it above the limit, which `_death` then tells."""
        self._watch = asyncio.get_running_loop().call_later(_WATCH_INTERVAL_SECONDS, self._look)

    def unwatch(self) -> None:
        """End the watch."""
        if self._watch:
            self._watch.cancel()
            self._watch = None

    async def kill(self) -> None:
        """End the process and wait until it is gone."""
        self.unwatch()
        with suppress(ProcessLookupError):
            self._process.kill()
        self._stdin.close()
        async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
            while not self._stdout.at_eof():
                await self._stdout.read(_MEGABYTE)
            await self._process.wait()

    def _look(self) -> None:
        resident_bytes = _resident_bytes(self.pid)
        if resident_bytes is None:
            return
        self._peak_bytes = max(self._peak_bytes, resident_bytes)
        if resident_bytes > self._limit_bytes:
            with suppress(ProcessLookupError):
                self._process.kill()
            return
        self.watch()

    async def _timely(self) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._read()
        except TimeoutError:
            raise ParseTimeoutError(
                f"Reading the document was stopped after {self._timeout_seconds:g} s."
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._death() from None

    async def _read(self) -> tuple[bytes, bytes]:
        kind, length = frame_head(await self._stdout.readexactly(HEAD_BYTES))
        if length > MAX_FRAME_BYTES:
            raise self.lost(f"a frame of {length} bytes")
        return kind, await self._stdout.readexactly(length)

    async def _death(self) -> ParseError:
        """Why the process died while it read a document."""
        async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
            code = await self._process.wait()
        limit_mb = self._limit_bytes // _MEGABYTE
        # SIGKILL is the watch or the kernel's out-of-memory killer; a failed allocation aborts.
        aborted_large = code == -signal.SIGABRT and self._peak_bytes > self._limit_bytes // 2
        if code == -signal.SIGKILL or aborted_large:
            return ParseOutOfMemoryError(
                f"Reading the document was stopped at {self._peak_bytes // _MEGABYTE} MB; "
                f"the limit is {limit_mb} MB."
            )
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ParseCrashedError(f"The parser process ended with {how}.")


def _private_folder() -> Path:
    """The folder for what a child unpacks for itself, a library of code among it: none else may write there.

    It is the same for all, so that nothing piles up when processes are killed. Raises `UnavailableError`.
    """
    folder = Path(tempfile.gettempdir()) / f"quarry-parsers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UnavailableError(f"{folder} belongs to somebody else, or others may write to it.")
    return folder


def _resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None where it is gone or the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
    except OSError:
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
