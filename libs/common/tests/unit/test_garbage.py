"""The garbage collector of a long-lived process."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from quarry_common import garbage


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.other: Node | None = None


@pytest.fixture
def settled() -> Iterator[None]:
    before = gc.get_threshold()
    garbage.settle()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_exists_is_left_out_of_collections(settled: None) -> None:
    assert gc.get_freeze_count() > 1000


def test_cycles_that_come_later_are_still_collected(settled: None) -> None:
    first, second = Node(), Node()
    first.other, second.other = second, first
    gone = weakref.ref(first)
    del first, second
    kept = []
    while gone() is not None and len(kept) < 30 * garbage.ALLOCATIONS:
        kept.append([None])
    assert gone() is None
