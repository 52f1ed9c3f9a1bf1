"""`make bench`: starts a platform of its own, measures it, prints tables, writes JSON, stops everything."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from benchmarks import (
    acceptance,
    access,
    analytics,
    control,
    fairness,
    growth,
    ingest,
    latency,
    load,
    memory,
    search,
    upload,
    webhooks,
)
from benchmarks.figures import Figures
from benchmarks.report import Measured, Report, show, this_machine
from benchmarks.sink import receiving
from tests.platform import Platform, running_platform

from quarry_common.errors import QuarryError

PARTS = (
    "ingest", "acceptance", "latency", "fairness", "control", "access", "memory", "search", "growth",
    "analytics", "webhooks",
)  # fmt: skip
LIMIT_SECONDS = 7200
"""Most of it goes into embedding twelve thousand chunks, half of them for comparison, and into the graphs of
three times a hundred thousand chunks."""
SEARCHING_TENANTS = 100
Tell = Callable[[str], None]


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--output", type=Path, default=Path("var/bench.json"), help="where the JSON goes")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of ingest and search (default 3)")
    parser.add_argument("--ingest-chunks", type=int, default=300, help="chunks of a round (default 300)")
    parser.add_argument(
        "--accepted", type=int, default=400, help="documents to accept, each way (default 400)"
    )
    parser.add_argument("--latency-documents", type=int, default=20, help="default 20")
    parser.add_argument("--fairness-documents", type=int, default=1000, help="the import's (default 1000)")
    parser.add_argument("--memory-scale", type=float, default=1.0, help="of the parser's files (default 1)")
    parser.add_argument(
        "--chunks", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="of the curve"
    )
    parser.add_argument("--search-seconds", type=int, default=5, help="seconds of a round (default 5)")
    parser.add_argument("--search-import", type=int, default=5000, help="documents imported beside searches")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="of the curve")
    found = parser.parse_args(given)
    if unknown := set(found.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return found


async def measure(
    platform: Platform, parts: Sequence[str], options: argparse.Namespace, tell: Tell
) -> Measured:
    found = Measured()
    # First what needs a platform with nothing else to do.
    if "latency" in parts:
        found.figures.append(await latency.measure(platform, options.latency_documents, tell))
    if "ingest" in parts:
        found.ingest = await ingest.measure(platform, options.rounds, options.ingest_chunks, tell)
    if "memory" in parts:
        found.figures.append(await upload.measure(platform, tell))
        found.memory = await memory.measure(tell, options.memory_scale)
    if "acceptance" in parts:
        found.figures.append(await acceptance.measure(platform, options.accepted, tell))
    if "control" in parts:
        found.figures.append(await control.measure(platform, tell))
    if "access" in parts:
        found.figures.append(await access.measure(platform, tell))
    if "fairness" in parts:
        beside = await fairness.measure(platform, options.fairness_documents, fair=True, tell=tell)
        found.figures.append(beside)
    return found


def sizes(options: argparse.Namespace) -> search.Sizes:
    """Return how searches of many tenants are measured."""
    return search.Sizes(
        tenants=SEARCHING_TENANTS,
        chunks=max(options.chunks),
        rounds=options.rounds,
        seconds=options.search_seconds,
        clients=options.clients,
        imported=options.search_import,
    )


def unfair(settings: dict[str, str], options: argparse.Namespace, tell: Tell) -> Figures:
    """Measure fairness once more, on a platform that is not fair."""
    tell("starting a platform that is not fair")
    with running_platform({**settings, "INDEXER_FAIRNESS": "false"}) as platform:
        return asyncio.run(fairness.measure(platform, options.fairness_documents, fair=False, tell=tell))


def of_analytics(settings: dict[str, str], tell: Tell) -> list[Figures]:
    """Measure what recording costs, and questions on a platform whose rollups follow at once."""
    found = [analytics.recording(settings, tell)]
    with running_platform({**settings, "ANALYTICS_AGGREGATE_INTERVAL_SECONDS": "1"}) as platform:
        found.append(asyncio.run(analytics.measure(platform, tell)))
    return found


def main() -> int:
    options = arguments(sys.argv[1:])
    parts = options.parts or PARTS
    started, load_before = time.monotonic(), os.getloadavg()[0]

    def tell(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)

    # As Ctrl-C does: whatever was started is stopped on the way out. The alarm ends a run that hangs.
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.default_int_handler)
    signal.alarm(LIMIT_SECONDS)
    with receiving() as sink:
        settings = {
            "TELEMETRY_ENABLED": "true",
            "SAMPLING_RATE": "0.1",
            "OTLP_ENDPOINT": sink.address,
        }
        if {"search", "growth", "access"} & set(parts):
            load.wrk(tell)
        measured = Measured()
        if set(parts) - {"search", "growth", "analytics", "webhooks"}:
            measured = growth.on_a_platform(
                settings, lambda platform: measure(platform, parts, options, tell), tell
            )
        if "fairness" in parts:
            measured.figures.append(unfair(settings, options, tell))
        if "analytics" in parts:
            measured.figures += of_analytics(settings, tell)
        if "webhooks" in parts:
            figures = growth.on_a_platform(
                settings | webhooks.SETTINGS, lambda platform: webhooks.measure(platform, tell), tell
            )
            measured.figures.append(figures)
        if "search" in parts:
            measured.search = growth.on_a_platform(
                settings, lambda platform: search.measure(platform, sizes(options), tell), tell
            )
        if "growth" in parts:
            measured.growth = growth.grown(
                settings, sorted(options.chunks), options.rounds, options.search_seconds, tell
            )
        machine = this_machine(load_before)
        exported = sink.spans
    shown = {name: value for name, value in settings.items() if name != "OTLP_ENDPOINT"}
    report = Report(machine, time.monotonic() - started, shown, exported, measured)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    show(report)
    print(f"All figures: {options.output}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QuarryError as error:
        sys.exit(f"Error: {error.data.detail}\n{error.data.advice}")
    except KeyboardInterrupt:
        sys.exit("Stopped before the end; nothing was left running.")
