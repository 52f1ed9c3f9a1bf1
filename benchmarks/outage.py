"""Searches while Redis stands still."""

import asyncio
import itertools
import os
import re
import time
from collections.abc import Sequence
from typing import Final

import httpx
import msgspec
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.load import Tell
from benchmarks.texts import Writer
from tests.platform import Platform, Tenant

CLIENTS: Final = 4
AROUND_SECONDS: Final = 6.0
FROZEN_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 0.2
"""Between two looks at the breaker: shorter than it stays open."""
TARGET_MS: Final = 600.0
REPEATED: Final = 50
_BREAKER: Final = re.compile(r"^cache_breaker_state (\S+)$", re.MULTILINE)
_HITS: Final = re.compile(r'^cache_hits_total{cache="answers",tier="\w+"} (\S+)$', re.MULTILINE)
_MISSES: Final = re.compile(r'^cache_misses_total{cache="answers"} (\S+)$', re.MULTILINE)


class Counted(msgspec.Struct, frozen=True):
    """What the search service tells of its answers' cache since it was started."""

    hits: float
    misses: float


class Sent(msgspec.Struct, frozen=True):
    """One search."""

    at: float
    ms: float
    status: int
    cache: str


async def measure(platform: Platform, tenant: Tenant, tell: Tell) -> Figures:
    """Send searches, half of them repeated, and stop Redis for a while in between."""
    tell(f"search: Redis stands still for {FROZEN_SECONDS:g} s")
    sent: list[Sent] = []
    over = asyncio.Event()
    states: list[float] = []
    counted = [await _counted(platform)]
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(_send(tenant, number, sent, over))
        watching = group.create_task(_watch(platform, states))
        await asyncio.sleep(AROUND_SECONDS)
        counted.append(await _counted(platform))
        redis = platform.process("redis")
        frozen = time.monotonic()
        redis.suspend()
        try:
            await asyncio.sleep(FROZEN_SECONDS)
        finally:
            redis.resume()
        thawed = time.monotonic()
        counted.append(await _counted(platform))
        await asyncio.sleep(AROUND_SECONDS)
        over.set()
        watching.cancel()
    counted.append(await _counted(platform))
    parts = {
        "before": [each for each in sent if each.at < frozen],
        "frozen": [each for each in sent if frozen <= each.at < thawed],
        "after": [each for each in sent if each.at >= thawed],
    }
    figures = [
        Figure("errors", sum(each.status != 200 for each in sent), "", 0.0),
        Figure("searches", len(sent), ""),
        *(Figure(f"{name}: p50", _ms(part, 0.5), "ms") for name, part in parts.items()),
        *(
            Figure(f"{name}: p99", _ms(part, 0.99), "ms", TARGET_MS if name == "frozen" else None)
            for name, part in parts.items()
        ),
        *(Figure(f"{name}: answered from the cache", _share(part), "") for name, part in parts.items()),
        *(
            Figure(f"{name}: the same by the service's own counters", _told_share(first, last), "")
            for name, (first, last) in zip(parts, itertools.pairwise(counted), strict=True)
        ),
        Figure("hits that the counters miss or invent", _untrue(counted, sent), "", 0.0),
        Figure("breaker opened", float(any(state > 0 for state in states)), "", 1.0, more_is_better=True),
        Figure("breaker closed at the end", float(states[-1] == 0), "", 1.0, more_is_better=True),
    ]
    title = f"Redis stands still for {FROZEN_SECONDS:g} s, {CLIENTS} clients, half of the searches repeated"
    return Figures(title, figures, load_average=os.getloadavg()[0])


async def _send(tenant: Tenant, number: int, sent: list[Sent], over: asyncio.Event) -> None:
    again = itertools.cycle(Writer(seed=8).queries(REPEATED))
    for fresh in Writer(seed=80 + number).queries(20_000):
        for query in (fresh, next(again)):
            if over.is_set():
                return
            begun = time.monotonic()
            answer = await tenant.http.post("/api/search", json={"query": query})
            cache = answer.json().get("cache", "")
            sent.append(Sent(begun, (time.monotonic() - begun) * 1000, answer.status_code, cache))


async def _counted(platform: Platform) -> Counted:
    text = await _metrics(platform)
    hits = sum(float(value) for value in _HITS.findall(text))
    return Counted(hits, sum(float(value) for value in _MISSES.findall(text)))


async def _metrics(platform: Platform) -> str:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        return (await client.get(f"{platform.ops_url('search')}/metrics")).text


async def _watch(platform: Platform, states: list[float]) -> None:
    while True:
        if found := _BREAKER.search(await _metrics(platform)):
            states.append(float(found[1]))
        await asyncio.sleep(WATCH_SECONDS)


def _ms(part: Sequence[Sent], share: float) -> float:
    return percentile([each.ms for each in part], share)


def _share(part: Sequence[Sent]) -> float:
    return sum(each.cache == "hit" for each in part) / len(part)


def _told_share(first: Counted, last: Counted) -> float:
    hits = last.hits - first.hits
    return hits / (hits + last.misses - first.misses)


def _untrue(counted: Sequence[Counted], sent: Sequence[Sent]) -> float:
    return abs(counted[-1].hits - counted[0].hits - sum(each.cache == "hit" for each in sent))
