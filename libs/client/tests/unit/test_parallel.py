"""Work in threads: bounded, complete, and stopped by its reader."""

import threading
import time
from collections.abc import Iterator

import pytest

from quarry_client.cli.parallel import run_parallel


def test_every_item_is_worked_on_once() -> None:
    assert sorted(run_parallel(range(500), lambda number: number * 2, 8)) == [2 * n for n in range(500)]


def test_at_most_so_many_run_at_once() -> None:
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=10)
        with lock:
            running -= 1

    assert len(list(run_parallel(range(9), work, 3))) == 9
    assert most == 3


def test_an_error_of_the_work_reaches_the_reader() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        list(run_parallel(range(10), work, 2))


def test_an_error_of_the_source_reaches_the_reader() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(run_parallel(source(), lambda number: number, 2))


def test_items_are_taken_only_as_fast_as_results_are_read() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    results = run_parallel(source(), lambda number: number, 2)
    next(results)
    deadline = time.monotonic() + 5
    while len(taken) < 5 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    # Two in hand, four queued, one read, and one more each.
    assert len(taken) <= 9
    results.close()  # type: ignore[attr-defined]


def test_a_reader_that_leaves_ends_the_threads() -> None:
    before = threading.active_count()
    results = run_parallel(range(10_000), lambda number: number, 4)
    next(results)
    results.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() <= before
