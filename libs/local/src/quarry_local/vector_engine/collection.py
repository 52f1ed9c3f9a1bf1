"""One collection: its settings, the process that holds its shard, and its writes in order."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from quarry_local.vector_engine.children import to_its_end
from quarry_local.vector_engine.errors import BusyError, NotFoundError
from quarry_local.vector_engine.optimisation.journal import Journal
from quarry_local.vector_engine.optimisation.record import Record
from quarry_local.vector_engine.shards.frames import Answer, Question
from quarry_local.vector_engine.shards.process import ShardProcess, start, start_open
from quarry_local.vector_engine.wire.collections import CreateCollection
from quarry_local.vector_engine.wire.shards import ShardInfo

MAX_WAITING_WRITES = 64

MANIFEST = "collection.json"
SHARD = "shard"
"""Folder of a new collection's shard, and the start of the names of those that take its place."""

log = logging.getLogger(__name__)


class Manifest(msgspec.Struct, frozen=True):
    """What is written beside the shard; a folder without it is a creation that did not finish."""

    name: str
    created_at: datetime
    settings: CreateCollection
    shard: str = SHARD
    """The folder that counts. Another one beside it is a run of the optimiser that did not end."""


class Collection:
    """An open collection. Reads may run between the steps of a write; writes wait for each other."""

    def __init__(
        self, folder: Path, manifest: Manifest, shard: ShardProcess, unindexed: int, kept: Sequence[int]
    ) -> None:
        self.folder = folder
        self.kept = kept
        """Open files that every process of the collection's shards keeps: the lock of the whole folder."""
        self.manifest = manifest
        self.shard = shard
        self.journal: Journal | None = None
        """Takes every write while a run of the optimiser works on a copy."""
        self.record = Record(unindexed)
        self.on_lost: Callable[[], None] | None = None
        """Called when the process that holds the shard has died."""
        self._unfolded = False
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._open = True
        shard.on_lost = self._lose

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.manifest.name

    @property
    def shard_folder(self) -> Path:
        """Where the files of the shard are."""
        return self.folder / self.manifest.shard

    @asynccontextmanager
    async def writing(self, *, patient: bool = False) -> AsyncIterator[None]:
        """Hold the collection's turn to write.

        Raises `NotFoundError` when it is deleted, and unless `patient` `BusyError` when too many wait.
        """
        if self._waiting >= MAX_WAITING_WRITES and not patient:
            raise BusyError(
                f"{MAX_WAITING_WRITES} writes to `{self.name}` are waiting already; send fewer at a time"
            )
        self._waiting += 1
        try:
            async with self._lock:
                if not self._open:
                    raise NotFoundError(f"Collection `{self.name}` doesn't exist!")
                yield
        finally:
            self._waiting -= 1

    async def read(self, question: Question) -> Answer:
        """Ask the shard what changes nothing; raises `ShardLostError`."""
        return await self.shard.ask(question)

    async def write(self, question: Question) -> Answer:
        """Let the shard change something, in its turn; raises `ShardLostError` and as `writing`.

        When this returns, what was changed survives the death of the processes. A write that has begun is
        brought to its end, whoever stops waiting: a run of the optimiser has to repeat it.
        """
        async with self.writing():
            return await to_its_end(self._write(question))

    async def _write(self, question: Question) -> Answer:
        # Not folded during a run: the disk is busy with the copy, everyone would wait for it, and the folder
        # is about to be replaced. The journal's limits are then those of the log.
        asked = msgspec.structs.replace(question, fold=self.journal is None)
        self._unfolded = True
        answer = await self.shard.ask(asked)
        self.record.changes.add(answer.changes)
        if self.journal is not None:
            self.journal.add(question, answer)
        return answer

    async def describe(self) -> ShardInfo:
        """Return what the library tells of the shard; raises `ShardLostError`."""
        answer = await self.shard.ask(Question("describe"))
        return msgspec.json.decode(answer.result(), type=ShardInfo)

    async def flush(self) -> None:
        """Fold the log into the segments, if anything is in it and no run goes on."""
        if self._unfolded and self.journal is None:
            async with self.writing(patient=True):
                await self.fold()

    async def fold(self) -> int:
        """Do what `flush` does; the caller holds `writing()`. Return the number of the last operation."""
        self._unfolded = False
        return msgspec.json.decode((await self.shard.ask(Question("fold"))).result(), type=int)

    async def reconfigure(self, settings: CreateCollection) -> None:
        """Take new settings; the caller holds `writing()`. Reads wait while the shard is reopened.

        Raises `RemoteError` for settings that are not possible.
        """
        told = msgspec.json.encode(settings)
        (await self.shard.ask(Question("reconfigure", told))).result()
        manifest = msgspec.structs.replace(self.manifest, settings=settings)
        write_manifest(self.folder, manifest)
        self.manifest = manifest

    def swap(self, folder: str, shard: ShardProcess) -> ShardProcess:
        """Go on with `shard`, open in `folder` and equal in its points; the caller holds `writing()`.

        The manifest decides: an engine that dies before it is replaced comes back with the old shard, one
        that dies afterwards with the new one. Returns the old shard, which still answers what it was asked.
        """
        manifest = msgspec.structs.replace(self.manifest, shard=folder)
        write_manifest(self.folder, manifest)
        old = self.shard
        old.on_lost, shard.on_lost = None, self._lose
        self.manifest, self.shard, self._unfolded = manifest, shard, True
        return old

    async def close(self) -> None:
        """Flush and release the shard."""
        if self._open:
            self._open = False
            await self.shard.close()

    async def abandon(self) -> None:
        """Answer what is being asked and release the shard, whose files are of no use any more."""
        self._open = False
        await self.shard.abandon()

    def _lose(self) -> None:
        if self.on_lost is not None:
            self.on_lost()


async def create_collection(
    draft: Path, folder: Path, name: str, settings: CreateCollection, kept: Sequence[int] = ()
) -> Collection:
    """Create the files of a collection in `draft`, move them to `folder`, and open it there.

    Neither folder may exist. Raises `RemoteError` for settings that are not possible; may leave the draft.
    """
    shard = await start(kept)
    try:
        await shard.create(draft / SHARD, settings)
        manifest = Manifest(name, datetime.now(UTC), settings)
        write_manifest(draft, manifest)
        draft.rename(folder)  # noqa: ASYNC240 (it takes no time, and either happens or not)
        opened = await shard.open(folder / SHARD, settings)
    except BaseException:
        await to_its_end(shard.abandon())
        raise
    return Collection(folder, manifest, shard, opened.unindexed, kept)


async def open_collection(folder: Path, kept: Sequence[int] = ()) -> Collection:
    """Open the collection in `folder`, replaying what the log holds beyond the segments.

    The process that holds its shard keeps the open files `kept`.
    """
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    _sweep(folder, manifest.shard)
    shard, opened = await start_open(folder / manifest.shard, manifest.settings, kept=kept)
    return Collection(folder, manifest, shard, opened.unindexed, kept)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest` so that a reader finds the old one or the new one, whole."""
    draft = folder / f"{MANIFEST}.new"
    draft.write_bytes(msgspec.json.encode(manifest))
    draft.replace(folder / MANIFEST)


def _sweep(folder: Path, current: str) -> None:
    for path in folder.glob(f"{SHARD}*"):
        if path.name != current:
            log.info("removing %s, which an optimisation left", path)
            shutil.rmtree(path, onerror=_keep_for_next_time)


def _keep_for_next_time(_: object, path: str, problem: tuple[object, object, object]) -> None:
    log.warning("cannot remove %s yet: %s", path, problem[1])
