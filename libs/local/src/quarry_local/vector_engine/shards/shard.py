"""An open shard of the engine library, and the operations that change it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import qdrant_edge as edge

from quarry_local.vector_engine.shards.edge import call
from quarry_local.vector_engine.shards.frames import Changes
from quarry_local.vector_engine.shards.schemas import edge_config, vector_schema
from quarry_local.vector_engine.shards.updates import PIECE, ByFilter, Change, Step
from quarry_local.vector_engine.wire.collections import CreateCollection

FOLD_AFTER_OPERATIONS = 20
"""Operations (of at most `PIECE` points) after which the log is folded into the segments: more would make the
next start, and the folding itself, long."""


class Shard:
    """Reads may run between the steps of a write; that writes wait for each other is up to who asks."""

    def __init__(self, folder: Path, settings: CreateCollection, operations: int) -> None:
        """Open the shard in `folder`, replaying what its log holds beyond the segments."""
        self.folder = folder
        self.operations = operations
        """Number of the last operation."""
        self.vectors = vector_schema(settings)
        self.library: edge.EdgeShard = call(edge.EdgeShard.load, str(folder), edge_config(settings))
        self._unfolded = 0

    def unindexed(self) -> int:
        """Return about how many points are in no graph: appendable segments index sparse vectors only."""
        info = self.library.info()
        dense, sparse = len(self.vectors.dense), len(self.vectors.sparse)
        missing = info.points_count * (dense + sparse) - info.indexed_vectors_count
        return max(0, missing // dense) if dense else 0

    async def apply(self, steps: list[Step], changes: Changes, *, may_fold: bool) -> int:
        """Apply the steps in order, letting reads in between; return the number of the last operation.

        `changes` counts what they change. When this returns, the library has written them to its log: they
        survive the death of the process.
        """
        for step in steps:
            if isinstance(step, ByFilter):
                for change in await self._cut(step):
                    await self._apply(change, changes, may_fold=may_fold)
            else:
                await self._apply(step, changes, may_fold=may_fold)
        return self.operations

    async def _cut(self, step: ByFilter) -> list[Change]:
        count = call(self.library.count, edge.CountRequest(True, step.filter))
        if count <= PIECE:
            return [step.whole(count)]
        return [step.by_ids(piece) for piece in await self._matching(step.filter)]

    async def _matching(self, wanted: edge.Filter) -> list[list[edge.PointId]]:
        pieces: list[list[edge.PointId]] = []
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(offset, PIECE, wanted, with_payload=False, with_vector=False)
            records, offset = call(self.library.scroll, request)
            pieces.append([record.id for record in records])
            if offset is None:
                return pieces
            await asyncio.sleep(0)

    async def _apply(self, change: Change, changes: Changes, *, may_fold: bool) -> None:
        self.operations += 1
        self._unfolded += 1
        # One that is refused may have changed some points all the same.
        changes.add(Changes(change.points, change.deleted))
        call(self.library.update, change.operation)
        await asyncio.sleep(0)
        if may_fold and self._unfolded >= FOLD_AFTER_OPERATIONS:
            self.fold()
            await asyncio.sleep(0)

    def fold(self) -> None:
        """Fold the log into the segments, if anything is in it."""
        if self._unfolded:
            call(self.library.flush)
            self._unfolded = 0

    def reconfigure(self, settings: CreateCollection) -> None:
        """Take new settings. Nothing else runs while the shard is reopened."""
        config = edge_config(settings)
        self.close()
        self.library = call(edge.EdgeShard.load, str(self.folder), config)
        self._unfolded = 0

    def close(self) -> None:
        """Fold the log and release the files."""
        call(self.library.close)


def create(folder: Path, settings: CreateCollection) -> None:
    """Create the files of a shard in `folder`, which must not exist; raises `WrongInputError`."""
    vector_schema(settings)
    config = call(edge_config, settings)
    folder.mkdir(parents=True)
    call(edge.EdgeShard.create, str(folder), config).close()
