"""How searches change as documents and tenants grow; each curve on a platform of its own."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeVar

import msgspec
from benchmarks import embedder
from benchmarks.filling import Filler
from benchmarks.load import Tell
from benchmarks.search import SEED, Search, Sizes, measure, searched
from benchmarks.texts import Writer
from tests.platform import Platform, complaints, running_platform

TENANTS: Final = (1, 1000)
"""Besides the hundred of the other searches."""
CLIENTS: Final = (1, 8)

T = TypeVar("T")


class Growth(msgspec.Struct, frozen=True):
    """One curve each."""

    by_chunks: list[Search]
    """Of one tenant."""
    by_tenants: list[Search]
    """With as many chunks in all as the largest of one tenant."""


def grown(
    settings: Mapping[str, str], chunks: Sequence[int], rounds: int, seconds: int, tell: Tell
) -> Growth:
    """Measure on platforms of their own."""

    async def one(platform: Platform) -> list[Search]:
        return await _by_chunks(platform, chunks, rounds, seconds, tell)

    async def many(platform: Platform) -> Search:
        sizes = Sizes(TENANTS[-1], chunks[-1], rounds, seconds, CLIENTS, extras=False)
        return await measure(platform, sizes, tell)

    by_chunks = on_a_platform(settings, one, tell)
    return Growth(by_chunks, [by_chunks[-1], on_a_platform(settings, many, tell)])


def on_a_platform(settings: Mapping[str, str], work: Callable[[Platform], Awaitable[T]], tell: Tell) -> T:
    """Return what `work` returns on a new platform."""

    async def done(platform: Platform) -> T:
        return await work(platform)

    tell("starting a platform")
    with running_platform(settings) as platform:
        try:
            return asyncio.run(done(platform))
        except Exception:
            print(complaints(platform.layout), file=sys.stderr)
            raise


async def _by_chunks(
    platform: Platform, chunks: Sequence[int], rounds: int, seconds: int, tell: Tell
) -> list[Search]:
    async with AsyncExitStack() as stack:
        tenant = await stack.enter_async_context(platform.tenant())
        writer = Writer(seed=SEED)
        filler = Filler(writer, embedder.make(8, len(os.sched_getaffinity(0))).embedder)
        found, written = [], 0
        for count in chunks:
            tell(f"growth: one tenant grows to {count} chunks")
            await filler.fill(platform, [tenant.id], count - written, tell)
            written = count
            sizes = Sizes(1, count, rounds, seconds, CLIENTS, extras=count == chunks[-1])
            found.append(await searched(platform, [tenant], filler, writer, sizes, tell))
        return found
