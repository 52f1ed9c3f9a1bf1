"""Memory and time of the parser pool on poison and on the largest documents, each in a pool of its own.

What counts: the outcome is the right one, the parser process stays within its limit, and the service beside
it (the parent, which streams text and chunks away) does not grow with the document.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table
from services.indexer.tests.integration.preparation.poison import CASES, MEGABYTE, READ, Poison

from quarry_common.settings import load
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.parsing.errors import ParseError
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.preparation.settings import ParserSettings

LIMIT_SECONDS = 600.0
LOOK_SECONDS = 0.01

Tell = Callable[[str], None]


class Case(msgspec.Struct, frozen=True):
    """What one file cost."""

    name: str
    file_mb: float
    outcome: str
    """`read`, or the code of the error."""
    expected: bool
    seconds: float
    child_peak_mb: float
    parent_growth_mb: float
    text_mb: float = 0.0
    chunks: int = 0


class Memory(msgspec.Struct, frozen=True):
    """All cases, and what the parser was allowed."""

    scale: float
    parser_memory_mb: int
    parser_timeout_seconds: float
    cases: list[Case]


async def measure(tell: Tell, scale: float = 1.0, names: Sequence[str] = ()) -> Memory:
    """Run the cases called `names`, all by default, one after another in processes of their own."""
    settings = load(ParserSettings, {})
    found: list[Case] = []
    for case in CASES:
        if names and case.name not in names:
            continue
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __spec__.name, "--inner", case.name, "--scale", str(scale), stdout=-1
        )
        async with asyncio.timeout(LIMIT_SECONDS):
            said, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the case {case.name!r} ended with {process.returncode}")
        found.append(msgspec.json.decode(said, type=Case))
        tell(f"memory: {case.name}: {found[-1].outcome} in {found[-1].seconds:.1f} s")
    return Memory(scale, settings.parser_memory_mb, settings.parser_timeout_seconds, found)


async def measure_one(case: Poison, path: Path, file_bytes: int, scale: float) -> Case:
    """Read one file through a pool, taking text and chunks as they come."""
    settings = load(ParserSettings, {"PARSER_PROCESSES": "1", "PARSER_MAX_TEXT_MB": str(max_text_mb(scale))})
    outcome, text_bytes, chunks = READ, 0, 0
    async with ParserPool(settings) as pool:
        (child,) = pool.process_ids()
        with _Peak(child) as peak:
            before, began = _forget_peak(), time.perf_counter()
            try:
                async with pool.prepare(
                    path, case.file_name, None, ChunkOptions(), owner="bench"
                ) as document:
                    async for piece in document.text():
                        text_bytes += len(piece)
                    async for page in document.chunks():
                        chunks += len(page)
            except ParseError as error:
                outcome = error.data.code
            seconds, growth = time.perf_counter() - began, _peak_mb("self") - before
    return Case(
        name=case.name,
        file_mb=file_bytes / MEGABYTE,
        outcome=outcome,
        expected=outcome in case.outcomes,
        seconds=seconds,
        child_peak_mb=peak.megabytes,
        parent_growth_mb=growth,
        text_mb=text_bytes / MEGABYTE,
        chunks=chunks,
    )


def max_text_mb(scale: float) -> int:
    """Return the limit of text that suits the files of `scale`."""
    return max(2, round(64 * scale))


class _Peak:
    """Reads a process's peak until it is gone; the loop may be busy, so a thread does it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.megabytes = 0.0

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._note()
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._note()

    def _note(self) -> None:
        self.megabytes = max(self.megabytes, _peak_mb(self._pid))


def _forget_peak() -> float:
    """Let the kernel count this process's peak anew; return from where, in MB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb("self")


def _peak_mb(pid: int | str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def table(found: Memory) -> Table:
    """Return the cases as a table."""
    shown = Table(
        title=f"Parser pool at scale {found.scale:g}; limits {found.parser_memory_mb} MB and "
        f"{found.parser_timeout_seconds:g} s"
    )
    for column in ("", "file MB", "outcome", "s", "child peak MB", "parent growth MB", "text MB", "chunks"):
        shown.add_column(column, justify="left" if column in ("", "outcome") else "right")
    for case in found.cases:
        shown.add_row(
            case.name,
            f"{case.file_mb:.1f}",
            case.outcome if case.expected else f"{case.outcome} (not expected)",
            f"{case.seconds:.1f}",
            f"{case.child_peak_mb:.0f}",
            f"{case.parent_growth_mb:.1f}",
            f"{case.text_mb:.1f}",
            str(case.chunks),
        )
    return shown


def main() -> int:
    """Run alone: `python -m benchmarks.memory`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("names", nargs="*", help="cases; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of the full size (default 1)")
    parser.add_argument("--output", type=Path, help="where the JSON goes; nowhere by default")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inner:
        (case,) = (each for each in CASES if each.name == given.inner)
        with tempfile.TemporaryDirectory(prefix="quarry-bench-") as folder:
            path = Path(folder) / "file"
            case.write(path, given.scale)
            result = uvloop.run(measure_one(case, path, path.stat().st_size, given.scale))
        os.write(1, msgspec.json.encode(result))
        return 0
    found = asyncio.run(
        measure(lambda line: print(line, file=sys.stderr, flush=True), given.scale, given.names)
    )
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    Console(width=140).print(table(found))
    return 0 if all(case.expected for case in found.cases) else 1


if __name__ == "__main__":
    sys.exit(main())
