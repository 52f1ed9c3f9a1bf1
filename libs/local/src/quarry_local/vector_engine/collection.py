"""One collection: a shard of the engine library, its settings, and its writes in order."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine.edge import call
from quarry_local.vector_engine.errors import BusyError, NotFoundError
from quarry_local.vector_engine.optimisation.journal import Journal
from quarry_local.vector_engine.optimisation.record import Record
from quarry_local.vector_engine.schemas import edge_config, vector_schema
from quarry_local.vector_engine.updates import PIECE, ByFilter, Change, Step
from quarry_local.vector_engine.vectors import VectorSchema
from quarry_local.vector_engine.wire.collections import CreateCollection

MAX_WAITING_WRITES = 64
FLUSH_AFTER_OPERATIONS = 20
"""Operations (of at most `PIECE` points) after which the log is folded into the segments: more would make the
next start, and the flush itself, long."""

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

    def __init__(self, folder: Path, manifest: Manifest, shard: edge.EdgeShard) -> None:
        self.folder = folder
        self.manifest = manifest
        self.shard = shard
        self.vectors = vector_schema(manifest.settings)
        self.unflushed = 0
        self.operations = 0
        self.journal: Journal | None = None
        """Takes every operation while a run of the optimiser works on a copy."""
        self.record = Record(_unindexed(shard, self.vectors))
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._open = True

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

    async def apply(self, steps: list[Step], body_bytes: int = 0) -> int:
        """Apply the steps in order, letting reads in between; return the number of the last operation.

        `body_bytes` is the size of the request that they come from. When this returns, the library has
        written them to its log: they survive the death of the process.
        """
        async with self.writing():
            if self.journal is not None:
                self.journal.add_bytes(body_bytes)
            for step in steps:
                if isinstance(step, ByFilter):
                    await self._apply_by_filter(step)
                else:
                    await self._apply_one(step)
            return self.operations

    async def _apply_by_filter(self, step: ByFilter) -> None:
        count = call(self.shard.count, edge.CountRequest(True, step.filter))
        if count <= PIECE:
            await self._apply_one(step.whole(count))
            return
        for piece in await self._matching(step.filter):
            await self._apply_one(step.by_ids(piece))

    async def _matching(self, wanted: edge.Filter) -> list[list[edge.PointId]]:
        pieces: list[list[edge.PointId]] = []
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(offset, PIECE, wanted, with_payload=False, with_vector=False)
            records, offset = call(self.shard.scroll, request)
            pieces.append([record.id for record in records])
            if offset is None:
                return pieces
            await asyncio.sleep(0)

    async def _apply_one(self, change: Change) -> None:
        self.operations += 1
        self.unflushed += 1
        accepted = False
        try:
            call(self.shard.update, change.operation)
            accepted = True
        finally:
            # One that was refused may have changed some points all the same.
            self.record.changes.add(change)
            if self.journal is not None:
                self.journal.add(change, accepted=accepted)
        await asyncio.sleep(0)
        if self.unflushed >= FLUSH_AFTER_OPERATIONS and self.journal is None:
            self.fold()
            await asyncio.sleep(0)

    async def flush(self) -> None:
        """Fold the log into the segments, if anything is in it.

        Not during a run of the optimiser: the disk is busy with the copy, the process would wait for it, and
        the folder is about to be replaced. The journal's limits are then those of the log.
        """
        if self.journal is None:
            async with self.writing():
                self.fold()

    def fold(self) -> None:
        """Do what `flush` does; the caller holds `writing()`."""
        if self.unflushed:
            call(self.shard.flush)
            self.unflushed = 0

    def reconfigure(self, settings: CreateCollection) -> None:
        """Take new settings; the caller holds `writing()`. Nothing else runs while the shard is reopened."""
        config = edge_config(settings)
        manifest = msgspec.structs.replace(self.manifest, settings=settings)
        call(self.shard.close)
        write_manifest(self.folder, manifest)
        self.shard = call(edge.EdgeShard.load, str(self.shard_folder), config)
        self.manifest = manifest
        self.unflushed = 0

    def swap(self, folder: str, shard: edge.EdgeShard, unflushed: int) -> edge.EdgeShard:
        """Go on with `shard`, open in `folder` and equal in its points; the caller holds `writing()`.

        The manifest decides: a process that dies before it is replaced comes back with the old shard, one
        that dies afterwards with the new one. Returns the old shard, still open.
        """
        manifest = msgspec.structs.replace(self.manifest, shard=folder)
        write_manifest(self.folder, manifest)
        old = self.shard
        self.manifest, self.shard, self.unflushed = manifest, shard, unflushed
        return old

    def close(self) -> None:
        """Flush and release the shard."""
        if self._open:
            self._open = False
            call(self.shard.close)


def create_collection(folder: Path, name: str, settings: CreateCollection) -> None:
    """Create the files of a collection in `folder`, which must not exist; raises `WrongInputError`."""
    vector_schema(settings)
    config = call(edge_config, settings)
    folder.mkdir(parents=True)
    call(edge.EdgeShard.create, str(folder / SHARD), config).close()
    write_manifest(folder, Manifest(name, datetime.now(UTC), settings))


def open_collection(folder: Path) -> Collection:
    """Open the collection in `folder`, replaying what the log holds beyond the segments."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    _sweep(folder, manifest.shard)
    shard = call(edge.EdgeShard.load, str(folder / manifest.shard), edge_config(manifest.settings))
    return Collection(folder, manifest, shard)


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


def _unindexed(shard: edge.EdgeShard, vectors: VectorSchema) -> int:
    """Return about how many points are in no graph: appendable segments index sparse vectors only."""
    info = shard.info()
    missing = info.points_count * (len(vectors.dense) + len(vectors.sparse)) - info.indexed_vectors_count
    return max(0, missing // len(vectors.dense)) if vectors.dense else 0
