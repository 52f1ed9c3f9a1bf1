"""An import goes in while its indexers are killed and stand still, and the servers under them are restarted:
every accepted job ends exactly once, no version is seen twice, and a worker that wakes late changes nothing.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import pytest
from tests.chaos import checks, faults
from tests.chaos.conftest import Load
from tests.chaos.storm import Storm, Text, long, short
from tests.platform import Platform, running_platform

from quarry_indexer.indexing.embedding import KEPT_AT_ONCE

FOLDER = "QUARRY_TEST_DOCUMENTS"
FILES = 400
WAVE = 40
LOST_AT_ONCE = KEPT_AT_ONCE * (len(os.sched_getaffinity(0)) + 1)
"""Texts that a process loses at most: those under way, on each core as many as are stored together, and those
that were just being stored."""


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Yield a platform of its own, which tells of every run of the embedder and never mends its index."""
    with running_platform(
        {"LOG_LEVEL": "DEBUG", "JOB_LEASE_SECONDS": "4", "INDEX_CHECK_SECONDS": "0"}
    ) as running:
        yield running


@asynccontextmanager
async def storm_over(platform: Platform) -> AsyncIterator[Storm]:
    """Yield a storm whose searches run until the block ends."""
    stop = asyncio.Event()
    async with platform.tenant() as tenant, platform.tenant() as other:
        with faults.second(platform, "indexer") as second:
            storm = Storm(platform, Load(platform, tenant), Load(platform, other), second)
            searching = asyncio.create_task(storm.load.search_until(stop))
            try:
                yield storm
                assert not searching.done(), searching.exception()
            finally:
                stop.set()
                await searching


@pytest.mark.timeout(300)
async def test_an_import_survives_kills_a_freeze_and_restarts(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(5)
    begun = time.monotonic()
    async with storm_over(platform) as storm:
        await storm.send(_wave(0))
        await storm.freeze(platform.process("indexer"), storm.logs[0])
        for turn, (victim, number) in enumerate(
            (
                ("indexer", signal.SIGKILL),
                ("nats", signal.SIGKILL),
                ("indexer", signal.SIGKILL),
                ("vector-engine", signal.SIGKILL),
                ("postgres", signal.SIGINT),
                ("indexer", signal.SIGKILL),
            ),
            start=1,
        ):
            await storm.revise(rng.sample(range(turn * WAVE), 4))
            await storm.send(_wave(turn))
            await storm.end(f"{number.name} of {victim}", victim, number)
        await storm.over(120)
        await storm.load.stores_agree()

        assert await storm.wrong() == []
        assert came_upon_work(storm)
        assert set(await storm.ends()) <= {"succeeded", "cancelled"}
        computed, needed = await _embeddings(storm)
        with capsys.disabled():
            print(_story(storm, await storm.ends(), computed, needed, time.monotonic() - begun))
    # Three are killed, one stands still while another takes over, and two lose their database.
    assert needed <= computed <= needed + (3 + 1 + 2) * LOST_AT_ONCE


def came_upon_work(storm: Storm) -> bool:
    """Tell whether searches were answered, and at least every other fault found jobs that were open."""
    busy = sum(jobs > 0 for jobs in storm.open_jobs)
    return storm.load.answers.get(200, 0) > 0 and busy * 2 >= len(storm.open_jobs) > 0


def _wave(turn: int) -> list[Text]:
    return [long(turn, 120), *map(short, range(turn * WAVE, (turn + 1) * WAVE))]


@pytest.mark.full
@pytest.mark.timeout(7200)
async def test_a_folder_of_files_survives_ten_kills_two_freezes_and_restarts(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _files()
    rng = random.Random(6)
    async with storm_over(platform) as storm:
        begun = time.monotonic()
        sending = asyncio.gather(storm.send(list(map(short, range(2000)))), storm.send_files(files))
        await _storm(storm, rng)
        await sending
        await storm.over(5400)
        await storm.load.stores_agree()

        assert await storm.wrong() == []
        assert came_upon_work(storm)
        ends = await storm.ends()
        computed, needed = await _embeddings(storm)
        with capsys.disabled():
            print(_story(storm, ends, computed, needed, time.monotonic() - begun))
        assert needed <= computed <= needed * 1.03
        assert ends["succeeded"] > 2000


async def _storm(storm: Storm, rng: random.Random) -> None:
    platform = storm.platform
    kills = ["indexer"] * 10
    others = ["nats", "vector-engine"] * 2
    await storm.freeze(platform.process("indexer"), storm.logs[0])
    for turn, victim in enumerate(_between(kills, others)):
        await storm.revise(rng.sample(range(2000), 15))
        await storm.end(f"SIGKILL of {victim}", victim)
        if turn == 6:
            await storm.end("SIGINT of postgres", "postgres", signal.SIGINT)
            await storm.freeze(storm.second, storm.logs[1])


def _between(many: Sequence[str], few: Sequence[str]) -> Iterator[str]:
    """Yield `many` with one of `few` after every other one."""
    left = iter(few)
    for place, each in enumerate(many):
        yield each
        if place % 2:
            yield from (one for one in [next(left, None)] if one is not None)


def _files() -> list[Path]:
    folder = os.environ.get(FOLDER)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"{FOLDER} names no folder of documents")
    found = sorted(
        (path for path in Path(folder).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    # The largest few would take longer than all others together.
    return found[:FILES]


async def _embeddings(storm: Storm) -> tuple[int, int]:
    async with storm.platform.database() as database:
        return checks.embeddings_computed(storm.logs), await checks.embeddings_needed(database)


def _story(storm: Storm, ends: dict[str, int], computed: int, needed: int, seconds: float) -> str:
    lines = [
        "",
        f"{len(storm.accepted)} jobs in {seconds:.0f} s, load average {os.getloadavg()[0]:.1f}: "
        + ", ".join(f"{count} {end}" for end, count in ends.items()),
        f"jobs open when something was done: {storm.open_jobs}",
        f"searches by status {storm.load.answers}",
        f"texts embedded: {computed} with all faults, {needed} needed, ratio {computed / needed:.3f}",
        "works again after",
    ]
    lines += [
        f"  {kind:<30} {len(took)} times, median {median(took):5.1f} s, at most {max(took):5.1f} s"
        for kind, took in storm.seconds.items()
    ]
    return "\n".join(lines)
