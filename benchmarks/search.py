"""Searches on an index of a hundred thousand chunks, of many tenants or of one."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Final

import msgspec
from benchmarks import beside, embedder, outage, swap
from benchmarks.figures import Figures
from benchmarks.filling import Filler, recall
from benchmarks.load import Rounds, Sender, Tell, summary, wrk
from benchmarks.texts import Writer
from benchmarks.usage import resident_bytes
from tests.platform import Platform, Tenant

LIMIT: Final = 10
WARM_UP_SECONDS: Final = 3
QUERIES: Final = 60_000
KNOWN: Final = 4_000
"""Queries whose vectors are in memory when they are searched for."""
REPEATED: Final = 200
STAGED: Final = 200
SEED: Final = 2


class Stage(msgspec.Struct, frozen=True):
    """Where the time of a search goes, with one client."""

    name: str
    ms: float
    share: float


class Search(msgspec.Struct, frozen=True):
    """What was measured on one index."""

    tenants: int
    chunks: int
    recall_at_10: float
    engine_mb: float
    bare_query_cpu_ms: float
    """CPU of embedding one query as searches do, in a process that does nothing else."""
    loads: list[Rounds]
    stages: list[Stage]
    figures: list[Figures] = []


class Sizes(msgspec.Struct, frozen=True):
    """How large the index is, and how long it is measured."""

    tenants: int
    chunks: int
    rounds: int
    seconds: int
    clients: Sequence[int]
    extras: bool = True
    """Whether searches with known vectors and repeated ones are sent, too."""
    imported: int = 0
    """Documents of an import beside which searches are sent, and then again while Redis stands still."""


async def measure(platform: Platform, sizes: Sizes, tell: Tell) -> Search:
    """Fill the index of new tenants and search it."""
    async with AsyncExitStack() as stack:
        tenants = [await stack.enter_async_context(platform.tenant()) for _ in range(sizes.tenants)]
        writer = Writer(seed=SEED)
        filler = Filler(writer, embedder.make(8, len(os.sched_getaffinity(0))).embedder)
        tell(f"search: writing {sizes.chunks} chunks of {sizes.tenants} tenants to the index")
        await filler.fill(platform, [tenant.id for tenant in tenants], sizes.chunks, tell)
        return await searched(platform, tenants, filler, writer, sizes, tell)


async def searched(
    platform: Platform, tenants: Sequence[Tenant], filler: Filler, writer: Writer, sizes: Sizes, tell: Tell
) -> Search:
    """Search what the index holds."""
    program = wrk(tell)
    queries = writer.queries(QUERIES)
    answers = [
        await tenants[number % len(tenants)].search(query, limit=LIMIT)
        for number, query in enumerate(queries[:20])
    ]
    if not all(answer.results for answer in answers):
        raise RuntimeError("a search found nothing: the index was not filled as intended")
    loads: list[Rounds] = []
    fresh = Sender(program, platform, tenants, _bodies(queries[1000:]))
    await asyncio.to_thread(fresh.send, 2, WARM_UP_SECONDS)
    loads += [await _rounds("hybrid, uncached", fresh, clients, sizes, tell) for clients in sizes.clients]
    if sizes.extras:
        first = Sender(program, platform, tenants, _bodies(queries[:KNOWN]), repeated=True)
        await asyncio.to_thread(first.send_all, 4)
        known = Sender(program, platform, tenants, _bodies(queries[:KNOWN], LIMIT - 1))
        one = msgspec.structs.replace(sizes, rounds=1)
        loads.append(await _rounds("hybrid, query vector known", known, 8, one, tell))
        again = Sender(program, platform, tenants, _bodies(queries[:REPEATED]), repeated=True)
        await asyncio.to_thread(again.send, 2, WARM_UP_SECONDS)
        loads += [await _rounds("repeated", again, clients, sizes, tell) for clients in (1, 8)]
    stages = await _stages(tenants, writer.queries(STAGED))
    found_recall = await recall(platform, [tenant.id for tenant in tenants], filler)
    engine_mb = resident_bytes(platform.process("vector-engine")) / 1e6
    figures = []
    if sizes.imported:
        figures.append(await outage.measure(platform, tenants[0], tell))
        figures.append(await beside.measure(platform, fresh, sizes.imported, tell))
        figures.append(await swap.measure(platform, [tenant.id for tenant in tenants], filler, tell))
    return Search(
        tenants=len(tenants),
        chunks=sizes.chunks,
        recall_at_10=found_recall,
        engine_mb=engine_mb,
        bare_query_cpu_ms=embedder.query_cpu_ms(embedder.for_queries(), queries[:60]),
        loads=loads,
        stages=stages,
        figures=figures,
    )


async def _rounds(name: str, sender: Sender, clients: int, sizes: Sizes, tell: Tell) -> Rounds:
    done = [await asyncio.to_thread(sender.send, clients, sizes.seconds) for _ in range(sizes.rounds)]
    found = summary(name, clients, done)
    tell(
        f"search: {name}, {clients} clients: {found.requests_per_second:.0f} requests/s, "
        f"p50 {found.p50_ms:.1f} ms, CPU {found.platform_cpu_ms:.1f} ms"
    )
    return found


async def _stages(tenants: Sequence[Tenant], queries: Sequence[str]) -> list[Stage]:
    """Return the median time of each stage; `around` is what gateway, bus and client take."""
    loop, whole, parts = asyncio.get_running_loop(), [], []
    for number, query in enumerate(queries):
        begun = loop.time()
        answer = await tenants[number % len(tenants)].search(query, limit=LIMIT)
        whole.append((loop.time() - begun) * 1000)
        parts.append(answer.timings_ms)
    names = [name for name in parts[0] if name != "total"]
    found = {name: median(part[name] for part in parts) for name in names}
    inside = median(part["total"] for part in parts)
    found["other work of the search service"] = max(inside - sum(found.values()), 0.0)
    found["gateway, bus and client"] = max(median(whole) - inside, 0.0)
    total = sum(found.values())
    return [Stage(name, ms, ms / total) for name, ms in found.items()]


def _bodies(queries: Sequence[str], limit: int = LIMIT) -> list[bytes]:
    return [msgspec.json.encode({"query": query, "limit": limit}) for query in queries]
