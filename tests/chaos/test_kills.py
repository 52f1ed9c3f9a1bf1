"""Any process may be killed while documents go in: the platform comes back by itself and nothing is lost."""

import asyncio
import time

import psutil
import pytest
from tests.chaos import faults
from tests.chaos.conftest import Load
from tests.platform import Platform, until

VICTIMS = (
    "vector-engine", "nats", "redis", "postgres",
    "indexer", "search", "tenants", "webhooks", "analytics", "gateway",
)  # fmt: skip


@pytest.mark.parametrize(
    "per_kill",
    [pytest.param(4, id="short"), pytest.param(25, id="full", marks=pytest.mark.full)],
)
@pytest.mark.timeout(900)
async def test_every_process_is_killed_in_turn_while_documents_go_in(
    per_kill: int, load: Load, platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = asyncio.Event()
    searching = asyncio.create_task(load.search_until(stop))
    seconds: dict[str, float] = {}
    try:
        for turn, victim in enumerate(VICTIMS):
            kill = asyncio.create_task(_kill(load, platform, victim, seconds))
            await load.send_while(range(turn * per_kill, (turn + 1) * per_kill), kill)
            assert not searching.done(), searching.exception()
    finally:
        stop.set()
        await searching

    assert len(load.jobs) == per_kill * len(VICTIMS)
    await load.settled()
    with capsys.disabled():
        print(
            f"\n{len(load.jobs)} documents; searches by status {load.answers}; works again after SIGKILL of"
        )
        for victim, took in seconds.items():
            print(f"  {victim:<14} {took:6.1f} s")


async def _kill(load: Load, platform: Platform, victim: str, seconds: dict[str, float]) -> None:
    accepted_before = len(load.jobs)

    async def one_is_accepted() -> bool:
        return len(load.jobs) > accepted_before

    await until(one_is_accepted, 120, "a document is accepted")
    killed = time.monotonic()
    await faults.end(platform, victim)
    await load.probe(f"after-{victim}")
    seconds[victim] = time.monotonic() - killed


async def test_a_killed_session_of_postgres_takes_the_server_through_recovery_and_nothing_is_lost(
    load: Load, platform: Platform
) -> None:
    postmaster = platform.process("postgres")

    async def kill() -> None:
        async with platform.database() as database:
            pid = await database.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'quarry-indexer' LIMIT 1"
            )
        # The postmaster answers this by ending every session and recovering from its log.
        psutil.Process(pid).kill()
        await load.probe("after-session")

    await load.send_while(range(6), asyncio.create_task(kill()))

    assert platform.process("postgres").pid == postmaster.pid
    await load.settled()


async def test_every_process_is_killed_at_once(load: Load, platform: Platform) -> None:
    async def kill() -> None:
        processes = [platform.process(victim) for victim in VICTIMS]
        for process in processes:
            process.kill()
        await load.probe("after-all")
        await platform.all_ready()

    await load.send_while(range(8), asyncio.create_task(kill()))

    await load.settled()
