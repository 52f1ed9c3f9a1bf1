import gc
import weakref
from collections.abc import Iterator

import pytest

from quarry_common import garbage


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Node:
    def __init__(self) -> None:
        self.itself = self


def test_what_a_process_was_built_of_is_not_looked_at_again() -> None:
    garbage.look_seldom()

    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == garbage.YOUNG_OBJECTS
    assert len(gc.get_objects()) < 1000


def test_cycles_that_are_made_later_still_go() -> None:
    garbage.look_seldom()
    first = weakref.ref(Node())

    # Kept, so that they count as made and not yet freed.
    kept = [[number] for number in range(2 * garbage.YOUNG_OBJECTS)]

    assert first() is None
    assert len(kept) == 2 * garbage.YOUNG_OBJECTS
