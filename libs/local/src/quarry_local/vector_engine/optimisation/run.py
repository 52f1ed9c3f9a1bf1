"""One run: copy the folder, optimise the copy in a child, replay what has changed meanwhile, swap.

Until the swap the collection is served from its old folder, which every write goes to as ever; whatever
goes wrong before it, the copy is thrown away and nothing else has happened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import ParamSpec, TypeVar
from uuid import uuid4

import msgspec
import psutil

from quarry_local.vector_engine.children import to_its_end
from quarry_local.vector_engine.collection import SHARD, Collection
from quarry_local.vector_engine.errors import RunGivenUpError
from quarry_local.vector_engine.optimisation.child import Answer
from quarry_local.vector_engine.optimisation.files import (
    CopyStoppedError,
    copy_folder,
    free_bytes,
    size_bytes,
)
from quarry_local.vector_engine.optimisation.journal import Journal
from quarry_local.vector_engine.optimisation.record import Report
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.shards.frames import Changes
from quarry_local.vector_engine.shards.process import ShardProcess, start_open

CHILD = "quarry_local.vector_engine.optimisation.child"
ROOM_FACTOR = 3
"""The copy, the segments made from it, and reserve: times the shard's size, on the disk and in memory."""
ROOM_BYTES = 256 * 1024 * 1024

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")

log = logging.getLogger(__name__)


class Run:
    """A run on one collection, which has no other one meanwhile."""

    def __init__(self, collection: Collection, settings: OptimiserSettings) -> None:
        self._collection = collection
        self._settings = settings
        self._folder = collection.folder / f"{SHARD}-{uuid4().hex}"
        self._journal = Journal(
            settings.vector_optimise_journal_points, settings.vector_optimise_journal_mb * 1024 * 1024
        )
        self._before = Changes()
        self._unused = self._folder
        """The folder that is removed in the end: the copy, and after the swap the one before."""
        self._idle: ShardProcess | None = None
        """The process that holds the shard in that folder."""
        self._operations = 0
        self.report = Report("failed")

    async def __call__(self) -> Report:
        """Do everything; the report is of a run that is done. Raises `RunGivenUpError`."""
        collection, superseded = self._collection, self._collection.shard_folder
        try:
            async with asyncio.timeout(self._settings.vector_optimise_deadline_seconds):
                await self._check_room()
                await self._copy()
                await self._optimise()
                shard = await self._open()
                await self._catch_up(shard)
                async with collection.writing(patient=True):
                    started = time.perf_counter()
                    await self._replay(shard, len(self._journal))
                    self._idle = collection.swap(self._folder.name, shard)
                    self._unused = superseded
                    self._note(
                        result="done",
                        swap_seconds=time.perf_counter() - started,
                        journal_writes=self._journal.writes,
                    )
        except TimeoutError:
            seconds = self._settings.vector_optimise_deadline_seconds
            raise RunGivenUpError("deadline", f"it took longer than {seconds:g} s") from None
        finally:
            collection.journal = None
            if self.report.result != "done":
                collection.record.changes.add(self._before)
            await to_its_end(self._clean_up())
        return self.report

    def _note(self, **fields: object) -> None:
        self.report = msgspec.structs.replace(self.report, **fields)

    async def _check_room(self) -> None:
        size = await asyncio.to_thread(size_bytes, self._collection.shard_folder)
        wanted = ROOM_FACTOR * size + ROOM_BYTES
        if (free := free_bytes(self._collection.folder)) < wanted:
            raise RunGivenUpError("disk", f"it needs {wanted} bytes of disk, {free} are free")
        if (free := psutil.virtual_memory().available) < wanted:
            raise RunGivenUpError("memory", f"it needs {wanted} bytes of memory, {free} are free")

    async def _copy(self) -> None:
        """Copy the folder as the last write left it; writes wait, reads do not."""
        collection, stop = self._collection, Event()
        async with collection.writing(patient=True):
            self._operations = await collection.fold()
            started = time.perf_counter()
            seconds = self._settings.vector_optimise_copy_seconds
            try:
                await _in_thread(stop, copy_folder, collection.shard_folder, self._folder, seconds, stop)
            except CopyStoppedError:
                raise RunGivenUpError("copy", f"the copy took longer than {seconds:g} s") from None
            except OSError as error:
                raise RunGivenUpError("copy", f"the copy failed: {error}") from None
            self._note(copy_seconds=time.perf_counter() - started)
            collection.journal = self._journal
            self._before, collection.record.changes = collection.record.changes, Changes()

    async def _optimise(self) -> None:
        settings = msgspec.json.encode(self._collection.manifest.settings)
        async with _child(self._folder) as process:
            answering = asyncio.create_task(process.communicate(settings))
            overflowing = asyncio.create_task(self._journal.full.wait())
            try:
                await asyncio.wait({answering, overflowing}, return_when=asyncio.FIRST_COMPLETED)
                self._check_journal()
                output, _ = answering.result()
            finally:
                answering.cancel()
                overflowing.cancel()
        if process.returncode:
            raise RunGivenUpError("child", f"the child ended with {process.returncode}")
        answer = msgspec.json.decode(output, type=Answer)
        self._note(optimised=answer.optimised, child_peak_bytes=answer.peak_bytes)

    async def _open(self) -> ShardProcess:
        started = time.perf_counter()
        collection = self._collection
        self._idle, _ = await start_open(
            self._folder, collection.manifest.settings, self._operations, kept=collection.kept
        )
        self._note(open_seconds=time.perf_counter() - started)
        return self._idle

    async def _catch_up(self, shard: ShardProcess) -> None:
        """Replay three times while writes go on: each time less has come meanwhile, if they are slower."""
        for _ in range(3):
            await self._replay(shard, len(self._journal))

    async def _replay(self, shard: ShardProcess, count: int) -> None:
        for _ in range(count):
            self._check_journal()
            entry = self._journal.next()
            if entry is None:
                return
            answer = await shard.ask(entry.question)
            if (answer.error is not None) != entry.refused:
                raise RunGivenUpError("diverged", "a write had another result on the copy")

    def _check_journal(self) -> None:
        if self._journal.full.is_set():
            raise RunGivenUpError("journal", "too much changed meanwhile")

    async def _clean_up(self) -> None:
        if self._idle is not None:
            await self._idle.abandon()
            self._idle = None
        await _in_thread(Event(), shutil.rmtree, self._unused, ignore_errors=True)


@asynccontextmanager
async def _child(folder: Path) -> AsyncIterator[Process]:
    """Run the child until the block ends, however it ends."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *(sys.executable, "-m", CHILD, str(folder), str(os.getpid())), stdin=PIPE, stdout=PIPE
        )
    )
    try:
        yield await asyncio.shield(starting)
    finally:
        process = await starting
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _in_thread(
    stop: Event, function: Callable[ArgumentsT, ResultT], *args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs
) -> ResultT:
    """Return what `function` returns in a thread; when cancelled, set `stop` and wait for its end."""
    working = asyncio.create_task(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({working})
        raise
