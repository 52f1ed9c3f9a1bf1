"""The order in which texts of several owners are sent, and how a call ends."""

import asyncio

import numpy as np
import pytest

from quarry_common.embedding.sizes import SizedText
from quarry_common.embedding.waiting import Batch, Call, FairQueue, Item


def items(owner: str, *texts: str, tokens: int = 1) -> list[Item]:
    call = Call(len(texts), 0.0)
    return [Item(SizedText(text, tokens), call, index, owner) for index, text in enumerate(texts)]


def texts(taken: list[Item]) -> list[str]:
    return [item.sized.text for item in taken]


async def test_owners_take_turns_and_keep_their_own_order() -> None:
    queue = FairQueue()
    queue.add(items("a", "a1", "a2", "a3"))
    queue.add(items("b", "b1"))
    queue.add(items("c", "c1", "c2"))
    assert texts(queue.take(10, 100)) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert queue.take(10, 100) == []


async def test_who_was_cut_off_is_the_next() -> None:
    queue = FairQueue()
    queue.add(items("a", "a1", "a2"))
    queue.add(items("b", "b1", "b2"))
    assert texts(queue.take(1, 100)) == ["a1"]
    queue.add(items("c", "c1"))
    assert texts(queue.take(2, 100)) == ["b1", "a2"]
    assert texts(queue.take(10, 100)) == ["c1", "b2"]


async def test_tokens_bound_a_batch_but_a_long_text_goes_alone() -> None:
    queue = FairQueue()
    queue.add(items("a", "long", tokens=50))
    queue.add(items("b", "b1", "b2", "b3", tokens=4))
    assert texts(queue.take(10, 10)) == ["long"]
    assert texts(queue.take(10, 10)) == ["b1", "b2"]


async def test_what_is_put_back_is_the_next_in_the_same_order() -> None:
    queue = FairQueue()
    queue.add(items("a", "a1", "a2"))
    queue.add(items("b", "b1"))
    before = queue.take(2, 100)
    queue.put_back(before)
    assert texts(queue.take(3, 100)) == ["a1", "b1", "a2"]


async def test_what_nobody_waits_for_is_dropped() -> None:
    queue = FairQueue()
    gone, there = items("a", "a1", "a2"), items("b", "b1")
    queue.add(gone)
    queue.add(there)
    gone[0].call.vectors.cancel()
    assert texts(queue.take(10, 100)) == ["b1"]

    queue.add(gone)
    queue.drop_over()
    assert list(queue) == []


async def test_halves_hold_what_is_still_waited_for() -> None:
    gone, there = items("a", "a1", "a2"), items("b", "b1", "b2", "b3")
    gone[0].call.vectors.cancel()
    assert [texts(half.items) for half in Batch([*gone, *there]).halves()] == [["b1", "b2"], ["b3"]]
    assert [texts(half.items) for half in Batch([there[0]]).halves()] == [["b1"]]


async def test_a_call_has_its_vectors_when_the_last_has_come() -> None:
    call = Call(2, 0.0)
    call.deliver(1, np.array([0, 1], dtype=np.float32))
    assert not call.over
    call.deliver(0, np.array([1, 0], dtype=np.float32))
    assert (await call.vectors).tolist() == [[1, 0], [0, 1]]


async def test_an_error_ends_a_call_once() -> None:
    call = Call(2, 0.0)
    call.fail(RuntimeError("first"))
    call.fail(RuntimeError("second"))
    call.deliver(0, np.zeros(2, dtype=np.float32))
    call.deliver(1, np.zeros(2, dtype=np.float32))
    with pytest.raises(RuntimeError, match="first"):
        await asyncio.wait_for(call.vectors, 1)
