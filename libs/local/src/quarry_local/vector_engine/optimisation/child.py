"""The process that optimises a copy, at the lowest priority: `python -m ….optimisation.child FOLDER PARENT`.

Standard input holds the collection's settings, standard output takes the `Answer`, both as JSON.
"""

import os
import resource
import sys
from pathlib import Path

import msgspec
import psutil
import qdrant_edge as edge

from quarry_local.vector_engine.children import end_with
from quarry_local.vector_engine.optimisation.files import sync, warm
from quarry_local.vector_engine.shards.schemas import single_threaded_config
from quarry_local.vector_engine.wire.collections import CreateCollection

LOWEST_PRIORITY = 19
_MAXRSS_UNIT = 1024 if sys.platform == "linux" else 1


class Answer(msgspec.Struct, frozen=True):
    """What the child did: whether there was anything to optimise, and its largest memory."""

    optimised: bool
    peak_bytes: int


def optimise(folder: Path, settings: CreateCollection) -> bool:
    """Optimise the shard in `folder` with one thread; return whether there was anything to do.

    Afterwards its files are on the disk and in the page cache.
    """
    shard = edge.EdgeShard.load(str(folder), single_threaded_config(settings))
    try:
        changed = shard.optimize()
    finally:
        shard.close()
    sync(folder)
    warm(folder)
    return changed


def step_back(parent: int) -> None:
    """Let every other process go first, and end with the parent (Linux)."""
    end_with(parent)
    os.nice(LOWEST_PRIORITY)
    if sys.platform != "linux":
        return
    psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    # Should the machine run out of memory, this process goes first.
    Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def main() -> None:
    """Read the settings, optimise, answer."""
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    step_back(parent)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=CreateCollection)
    optimised = optimise(folder, settings)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
    sys.stdout.buffer.write(msgspec.json.encode(Answer(optimised, peak_bytes)))


if __name__ == "__main__":
    main()
