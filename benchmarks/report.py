"""What was measured, as tables and as JSON."""

import os
import platform as machine

import msgspec
from benchmarks import memory
from benchmarks.figures import Figures
from benchmarks.growth import Growth
from benchmarks.ingest import Ingest
from benchmarks.load import Rounds
from benchmarks.memory import Memory
from benchmarks.search import Search
from rich.console import Console
from rich.table import Table


class Machine(msgspec.Struct, frozen=True):
    """Where and under which load it was measured."""

    cores: int
    processor: str
    python: str
    load_average_before: float
    load_average_after: float


class Measured(msgspec.Struct):
    """The parts that were asked for."""

    ingest: Ingest | None = None
    search: Search | None = None
    growth: Growth | None = None
    memory: Memory | None = None
    figures: list[Figures] = msgspec.field(default_factory=list)


class Report(msgspec.Struct, frozen=True):
    """Everything of one run."""

    machine: Machine
    seconds: float
    settings: dict[str, str]
    spans_exported: int
    measured: Measured


def this_machine(load_before: float) -> Machine:
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=machine.machine(),
        python=machine.python_version(),
        load_average_before=load_before,
        load_average_after=os.getloadavg()[0],
    )


def show(report: Report) -> None:
    console, found = Console(width=140), report.measured
    if found.ingest is not None:
        console.print(_ingest(found.ingest))
        console.print(
            _cpu(
                "CPU milliseconds per chunk by process",
                {each.name: each.cpu_ms_per_chunk for each in found.ingest.kinds},
            )
        )
    if found.search is not None:
        _show_search(console, found.search)
    if found.growth is not None:
        for each in (found.growth.by_chunks[-1], *found.growth.by_tenants[1:]):
            _show_search(console, each)
        console.print(_curve("One tenant grows", found.growth.by_chunks))
        tenants = sorted(
            [*found.growth.by_tenants, *([found.search] if found.search else [])],
            key=lambda each: each.tenants,
        )
        console.print(_curve("More tenants, the same chunks in all", tenants))
    if found.memory is not None:
        console.print(memory.table(found.memory))
    for each in found.figures:
        console.print(_figures(each))
    at = report.machine
    console.print(
        f"{at.cores} cores, load average {at.load_average_before:.1f} before and "
        f"{at.load_average_after:.1f} after; medians of all rounds; {report.spans_exported} spans exported; "
        f"{report.seconds:.0f} s in all."
    )


def _ingest(found: Ingest) -> Table:
    table = Table(
        title=f"Ingest, chunks/s (bare embedder: batch {found.bare_batch_size}, {found.bare_threads} threads)"
    )
    for column in ("", "platform", "bare embedder", "ratio", "target"):
        table.add_column(column, justify="left" if not column else "right")
    for each in found.kinds:
        table.add_row(
            each.name,
            f"{each.platform_chunks_per_second:.1f}",
            f"{each.bare_chunks_per_second:.1f}",
            f"{each.ratio:.2f}",
            f"at least {each.target:.2f}",
        )
    return table


def _figures(found: Figures) -> Table:
    table = Table(title=f"{found.title}; load average {found.load_average:.1f}")
    table.add_column("")
    for column in ("seen", "target"):
        table.add_column(column, justify="right")
    for each in found.figures:
        table.add_row(each.what, f"{each.value:.4g} {each.unit}".strip(), each.wanted)
    return table


def _show_search(console: Console, found: Search) -> None:
    title = f"{found.chunks} chunks of {found.tenants} tenants"
    console.print(_loads(f"Searches, {title}", found.loads))
    columns = {
        f"{each.clients} clients, {each.name}": each.cpu_ms_per_request
        for each in found.loads
        if each.clients in {1, 8}
    }
    console.print(_cpu(f"CPU milliseconds per search by process, {title}", columns))
    stages = Table(title=f"Where an uncached search's time goes, 1 client, {title}")
    for column in ("stage", "ms", "share"):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    for stage in found.stages:
        stages.add_row(stage.name, f"{stage.ms:.2f}", f"{stage.share:.0%}")
    console.print(stages)
    console.print(
        f"Embedding one query by itself: {found.bare_query_cpu_ms:.2f} ms CPU. Recall@10 of the dense leg: "
        f"{found.recall_at_10:.3f} (at least 0.97). Memory of the vector engine: {found.engine_mb:.0f} MB."
    )
    for figures in found.figures:
        console.print(_figures(figures))


def _loads(title: str, loads: list[Rounds]) -> Table:
    table = Table(title=title)
    for column in ("", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms of the platform"):
        table.add_column(column, justify="right" if column else "left")
    for each in loads:
        table.add_row(
            each.name,
            str(each.clients),
            f"{each.requests_per_second:.0f}",
            f"{each.p50_ms:.1f}",
            f"{each.p95_ms:.1f}",
            f"{each.p99_ms:.1f}",
            f"{each.platform_cpu_ms:.1f}",
        )
    return table


def _curve(title: str, points: list[Search]) -> Table:
    table = Table(title=title)
    columns = (
        "chunks",
        "tenants",
        "p50 ms, 1 client",
        "requests/s, 8 clients",
        "CPU ms",
        "engine MB",
        "recall@10",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for each in points:
        uncached = {load.clients: load for load in each.loads if load.name == "hybrid, uncached"}
        table.add_row(
            str(each.chunks),
            str(each.tenants),
            f"{uncached[1].p50_ms:.1f}",
            f"{uncached[8].requests_per_second:.0f}",
            f"{uncached[8].platform_cpu_ms:.1f}",
            f"{each.engine_mb:.0f}",
            f"{each.recall_at_10:.3f}",
        )
    return table


def _cpu(title: str, columns: dict[str, dict[str, float]]) -> Table:
    table = Table(title=title)
    table.add_column("process")
    for column in columns:
        table.add_column(column, justify="right")
    for name in next(iter(columns.values())):
        table.add_row(name, *(f"{values[name]:.2f}" for values in columns.values()))
    return table
