"""The pool's order, bounds and ends, with an embedder that the test holds back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from quarry_common.embedding.pool import EmbedderBusyError, EmbedderPool
from quarry_common.embedding.protocol import Vectors
from quarry_common.errors import DeadlineExceededError, UnavailableError


class HeldEmbedder:
    """Vectors are the texts' lengths; every run waits until the test lets it go."""

    id = "held@0"
    dimensions = 1
    max_tokens = 10

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.runs: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.runs.append(list(texts))
        self.started.set()
        if not self.go.wait(timeout=10):
            raise TimeoutError
        if "bad" in texts:
            raise RuntimeError("the model failed")
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at in range(len(text))]


@pytest.fixture
def held() -> HeldEmbedder:
    return HeldEmbedder()


@pytest.fixture
async def pool(held: HeldEmbedder) -> AsyncIterator[EmbedderPool]:
    pool = EmbedderPool(held, max_waiting=100)
    yield pool
    held.go.set()
    await pool.close()


def soon() -> float:
    return asyncio.get_running_loop().time() + 10


async def busy(pool: EmbedderPool, held: HeldEmbedder) -> asyncio.Task[Vectors]:
    """A request whose run has begun and is held back."""
    first = asyncio.create_task(pool.embed(["first"], deadline=soon()))
    await asyncio.to_thread(held.started.wait, 10)
    return first


async def test_what_arrives_during_a_run_goes_into_the_next_together(
    pool: EmbedderPool, held: HeldEmbedder
) -> None:
    first = await busy(pool, held)
    waiting = [asyncio.create_task(pool.embed(["x" * n], deadline=soon())) for n in range(1, 6)]
    await asyncio.sleep(0)
    held.go.set()
    lengths = [float((await task)[0, 0]) for task in waiting]
    assert lengths == [1, 2, 3, 4, 5]
    assert (await first).tolist() == [[5]]
    assert [len(run) for run in held.runs] == [1, 5]


async def test_a_large_request_is_cut_and_comes_back_in_order(pool: EmbedderPool, held: HeldEmbedder) -> None:
    held.go.set()
    texts = ["x" * ((n * 7) % 40) for n in range(40)]
    vectors = await pool.embed(texts, deadline=soon())
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert [len(run) for run in held.runs] == [8] * 5


async def test_a_full_queue_refuses(pool: EmbedderPool, held: HeldEmbedder) -> None:
    await busy(pool, held)
    waiting = asyncio.create_task(pool.embed(["x"] * 100, deadline=soon()))
    await asyncio.sleep(0)
    with pytest.raises(EmbedderBusyError, match="100 texts wait"):
        await pool.embed(["y"], deadline=soon())
    held.go.set()
    assert len(await waiting) == 100
    assert len(await pool.embed(["y"], deadline=soon())) == 1


async def test_what_is_past_its_deadline_is_not_computed(pool: EmbedderPool, held: HeldEmbedder) -> None:
    first = await busy(pool, held)
    with pytest.raises(DeadlineExceededError):
        await pool.embed(["late"], deadline=asyncio.get_running_loop().time() + 0.01)
    held.go.set()
    await first
    await pool.embed(["after"], deadline=soon())
    assert held.runs == [["first"], ["after"]]


async def test_an_error_reaches_its_callers_and_the_pool_goes_on(
    pool: EmbedderPool, held: HeldEmbedder
) -> None:
    held.go.set()
    with pytest.raises(RuntimeError, match="the model failed"):
        await pool.embed(["bad"], deadline=soon())
    assert len(await pool.embed(["good"], deadline=soon())) == 1


async def test_a_closed_pool_refuses_what_waits_and_what_comes(held: HeldEmbedder) -> None:
    pool = EmbedderPool(held, max_waiting=100)
    first = await busy(pool, held)
    waiting = asyncio.create_task(pool.embed(["waiting"], deadline=soon()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    with pytest.raises(UnavailableError):
        await waiting
    held.go.set()
    await closing
    assert len(await first) == 1
    with pytest.raises(UnavailableError, match="being stopped"):
        await pool.embed(["y"], deadline=soon())


async def test_owners_take_turns(pool: EmbedderPool, held: HeldEmbedder) -> None:
    first = await busy(pool, held)
    many = asyncio.create_task(pool.embed([f"a{n}" for n in range(64)], deadline=soon(), owner="a"))
    await asyncio.sleep(0)
    one = asyncio.create_task(pool.embed(["b"], deadline=soon(), owner="b"))
    await asyncio.sleep(0)

    held.go.set()
    await asyncio.gather(first, many, one)

    assert next(number for number, texts in enumerate(held.runs) if "b" in texts) <= 2


async def test_runs_go_side_by_side_on_several_threads(held: HeldEmbedder) -> None:
    pool = EmbedderPool(held, max_waiting=100, threads=2)
    waiting = asyncio.create_task(pool.embed([f"text {n}" for n in range(24)], deadline=soon()))

    async with asyncio.timeout(10):
        while len(held.runs) < 2:  # both are held back, so neither waits for the other
            await asyncio.sleep(0.01)
    held.go.set()

    assert (await waiting).shape == (24, 1)
    await pool.close()


async def test_what_comes_when_a_run_has_just_ended_is_not_forgotten(held: HeldEmbedder) -> None:
    held.go.set()
    pool = EmbedderPool(held, max_waiting=100, threads=2)
    for n in range(200):
        await asyncio.gather(*(pool.embed([f"{n} {m}"], deadline=soon()) for m in range(3)))
    await pool.close()
