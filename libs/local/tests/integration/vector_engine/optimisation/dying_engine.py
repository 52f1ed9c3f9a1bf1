"""The vector engine as a program that kills itself (SIGKILL) at the moment of a run that `DIE_AT` names."""

import os
import signal
from pathlib import Path
from threading import Event

from quarry_local.vector_engine import collection
from quarry_local.vector_engine.__main__ import main
from quarry_local.vector_engine.collection import Collection, Manifest
from quarry_local.vector_engine.optimisation import run
from quarry_local.vector_engine.optimisation.run import Run
from quarry_local.vector_engine.shards.process import ShardProcess


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def copying(source: Path, target: Path, seconds: float, stop: Event) -> None:
    (target / "segments" / "half").mkdir(parents=True)
    die()


async def opened(self: Run) -> ShardProcess:
    await OPEN(self)
    die()
    raise AssertionError


async def replaying(self: Run, shard: ShardProcess, count: int) -> None:
    await REPLAY(self, shard, 1)
    die()


def swapping(folder: Path, manifest: Manifest) -> None:
    if manifest.shard != collection.SHARD:
        (folder / f"{collection.MANIFEST}.new").write_bytes(b"{")
        die()
    WRITE(folder, manifest)


def swapped(self: Collection, folder: str, shard: ShardProcess) -> ShardProcess:
    SWAP(self, folder, shard)
    die()
    raise AssertionError


def removing(folder: Path, ignore_errors: bool) -> None:
    next(path for path in folder.rglob("*") if path.is_file()).unlink()
    die()


OPEN, REPLAY, SWAP, WRITE = Run._open, Run._replay, Collection.swap, collection.write_manifest

PHASES = {
    "copying": (run, "copy_folder", copying),
    "opened": (Run, "_open", opened),
    "replaying": (Run, "_replay", replaying),
    "swapping": (collection, "write_manifest", swapping),
    "swapped": (Collection, "swap", swapped),
    "removing": (run.shutil, "rmtree", removing),  # type: ignore[attr-defined]
}

if __name__ == "__main__":
    setattr(*PHASES[os.environ["DIE_AT"]])
    main()
