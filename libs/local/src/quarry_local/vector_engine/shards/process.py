"""A shard's process, as the listening process sees it: started, asked and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import msgspec

from quarry_local.vector_engine.children import to_its_end
from quarry_local.vector_engine.errors import ShardLostError
from quarry_local.vector_engine.shards.frames import Answer, Frames, Question
from quarry_local.vector_engine.wire.collections import CreateCollection
from quarry_local.vector_engine.wire.shards import CREATE, OPEN, Create, Open, Opened

MODULE = "quarry_local.vector_engine.shards"
ANSWER_SECONDS = 600.0
"""After which a question is not answered any more: building a payload index is the longest."""
ANSWERED_SECONDS = 30.0
"""How long a process that is to end may go on answering."""
CLOSE_SECONDS = 10.0

log = logging.getLogger(__name__)
_answers = msgspec.msgpack.Decoder(Answer)
_msgpack = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder()


class ShardProcess(Frames):
    """A process that holds one shard. `on_lost` is called when it dies before it is told to end."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.on_lost: Callable[[], None] | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = count(1)
        self._process = process

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    async def open(self, folder: Path, settings: CreateCollection, operations: int = 0) -> Opened:
        """Open a shard; raises `RemoteError` for what the library refuses, and `ShardLostError`."""
        told = _json.encode(Open(str(folder), settings, operations))
        answer = await self.ask(Question(OPEN, told))
        return msgspec.json.decode(answer.result(), type=Opened)

    async def create(self, folder: Path, settings: CreateCollection) -> None:
        """Make the files of a shard, which is not opened; raises as `open`."""
        (await self.ask(Question(CREATE, _json.encode(Create(str(folder), settings))))).result()

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question.

        Raises `ShardLostError` when the process dies, or has to be ended because it does not answer.
        """
        if self._transport is None:
            raise ShardLostError
        number = next(self._numbers) % 2**32
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self.send(number, _msgpack.encode(question))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            log.exception("%s was not answered within %.0f s", question.operation, ANSWER_SECONDS)
            self._kill()
            raise ShardLostError from None
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """Let the shard be closed in order, if that does not take too long, and end the process."""
        self.on_lost = None
        with suppress(TimeoutError, ShardLostError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.ask(Question("close"))
        await self._end()

    async def abandon(self) -> None:
        """Answer what is being asked, and end the process as it is."""
        self.on_lost = None
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWERED_SECONDS):
                if self._waiting:
                    await asyncio.wait(list(self._waiting.values()))
        await self._end()

    async def _end(self) -> None:
        self._kill()
        await self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def received(self, number: int, payload: bytes) -> None:
        """Take an answer; nobody may wait for it any more."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(_answers.decode(payload))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits that the process is gone."""
        super().connection_lost(exc)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ShardLostError())
        if self.on_lost is not None:
            self.on_lost()


async def start(kept: Sequence[int] = ()) -> ShardProcess:
    """Start a process, which has no shard yet. It keeps the open files `kept`."""
    starting = asyncio.create_task(_start(kept))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await starting.result().abandon()
        raise


async def start_open(
    folder: Path, settings: CreateCollection, operations: int = 0, *, kept: Sequence[int] = ()
) -> tuple[ShardProcess, Opened]:
    """Start a process that has opened a shard; raises as `ShardProcess.open`, and leaves nothing then."""
    process = await start(kept)
    try:
        return process, await process.open(folder, settings, operations)
    except BaseException:
        await to_its_end(process.abandon())
        raise


async def _start(kept: Sequence[int]) -> ShardProcess:
    ours, theirs = socket.socketpair()
    with theirs:
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, str(theirs.fileno()), str(os.getpid()), level),
            pass_fds=(theirs.fileno(), *kept),
        )
    _, made = await asyncio.get_running_loop().create_unix_connection(
        lambda: ShardProcess(process), sock=ours
    )
    return made
