import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quarry_indexer.preparation.turns import Turn, Turns


async def settled() -> None:
    """Let every task run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def log() -> list[str]:
    """Owners in the order in which they got a turn."""
    return []


def asking(turns: Turns, log: list[str]) -> Callable[..., Awaitable["asyncio.Task[Turn]"]]:
    async def ask(owner: str, *, alone: bool = False) -> "asyncio.Task[Turn]":
        async def wait() -> Turn:
            turn = await turns.take(owner, alone=alone)
            log.append(owner)
            return turn

        task = asyncio.create_task(wait())
        await settled()
        return task

    return ask


async def all_in_turn(held: list["asyncio.Task[Turn]"]) -> None:
    """Give back one turn after another until everybody has had one."""
    while had := [task for task in held if task.done()]:
        had[0].result().give_back()
        held.remove(had[0])
        await settled()
    assert held == []


async def test_who_waits_is_served_in_rotation_by_owner(log: list[str]) -> None:
    ask = asking(Turns(1), log)
    first, _beyond = await ask("x"), await ask("y")
    held = [await ask(owner) for owner in ("a", "a", "a", "b", "b", "c")]
    assert log == ["x", "y"]

    first.result().give_back()  # y keeps its place, so that one is left for the others
    await settled()
    await all_in_turn(held)

    assert log == ["x", "y", "a", "b", "c", "a", "b", "a"]


async def test_an_owner_of_whom_nothing_is_read_gets_one_place_more(log: list[str]) -> None:
    ask = asking(Turns(2), log)
    slow = [await ask("slow") for _ in range(4)]

    other = await ask("other")
    third = await ask("third")

    assert [task.done() for task in slow] == [True, True, False, False]
    assert other.done()
    assert not third.done()
    other.result().give_back()
    await settled()
    assert third.done()
    assert not slow[2].done()


async def test_a_turn_alone_waits_for_all_and_holds_back_all(log: list[str]) -> None:
    ask = asking(Turns(2), log)
    first = await ask("a")
    alone = await ask("b", alone=True)
    later = await ask("c")
    assert (alone.done(), later.done()) == (False, False)

    first.result().give_back()
    await settled()
    assert (alone.done(), later.done()) == (True, False)

    alone.result().give_back()
    await settled()
    assert later.done()


async def test_between_two_turns_alone_the_others_come_first(log: list[str]) -> None:
    ask = asking(Turns(1), log)
    held = [await ask("a", alone=True)]
    for owner, alone in (("a", True), ("b", False), ("a", True), ("b", False)):
        held.append(await ask(owner, alone=alone))

    await all_in_turn(held)

    assert log == ["a", "b", "a", "b", "a"]


async def test_owners_take_turns_alone_in_rotation(log: list[str]) -> None:
    ask = asking(Turns(1), log)
    held = [await ask(owner, alone=True) for owner in ("a", "a", "a", "b")]

    await all_in_turn(held)

    assert log.index("b") < 3


async def test_who_gives_up_waiting_holds_back_nobody(log: list[str]) -> None:
    ask = asking(Turns(1), log)
    first = await ask("a")
    alone = await ask("b", alone=True)
    later = await ask("c")
    assert not later.done()

    alone.cancel()
    await settled()

    assert later.done()  # the place beyond the count, which the turn alone had held back
    first.result().give_back()


async def test_a_turn_granted_to_a_cancelled_task_goes_to_the_next(log: list[str]) -> None:
    turns = Turns(1)
    ask = asking(turns, log)
    first = await ask("a")
    second = await ask("a")
    third = await ask("a")

    first.result().give_back()  # grants to the second, whose task has not run yet
    second.cancel()
    await settled()

    assert second.cancelled()
    assert third.done()


async def test_giving_back_twice_frees_one_place(log: list[str]) -> None:
    ask = asking(Turns(1), log)
    first = await ask("a")
    waiting = [await ask("a"), await ask("a")]

    first.result().give_back()
    first.result().give_back()
    await settled()

    assert [task.done() for task in waiting] == [True, False]
