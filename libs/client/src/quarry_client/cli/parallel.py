"""Runs one function over many items in a few threads, with bounded memory and a clean stop."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import msgspec

I = TypeVar("I")  # noqa: E741 - item
R = TypeVar("R")


class _Raised(msgspec.Struct, frozen=True):
    error: BaseException


class _Finished(msgspec.Struct, frozen=True):
    """A thread has no more to do."""


class _Work(Generic[I, R]):
    """What the threads share."""

    def __init__(self, items: Iterable[I], work: Callable[[I], R], jobs: int) -> None:
        self.items = iter(items)
        self.work = work
        self.taking = threading.Lock()
        self.stopping = threading.Event()
        self.results: queue.Queue[R | _Raised | _Finished] = queue.Queue(maxsize=2 * jobs)

    def run(self) -> None:
        outcome: R | _Raised | _Finished
        while not self.stopping.is_set():
            try:
                with self.taking:
                    item = next(self.items)
                outcome = self.work(item)
            except StopIteration:
                break
            except BaseException as error:  # noqa: BLE001 - raised again where the results are read
                outcome = _Raised(error)
            self.put(outcome)
        self.put(_Finished())

    def put(self, outcome: R | _Raised | _Finished) -> None:
        while not self.stopping.is_set():
            try:
                return self.results.put(outcome, timeout=0.1)
            except queue.Full:
                continue
        return None


def run_parallel(items: Iterable[I], work: Callable[[I], R], jobs: int) -> Iterator[R]:
    """Yield `work(item)` of each item as it is done, in any order; raises what `work` raises.

    When the reader stops (also by an exception, as Ctrl-C is), no further item is begun. What is under way
    then ends with the process: the threads are daemons, because an upload cannot be interrupted.
    """
    shared = _Work(items, work, jobs)
    threads = [threading.Thread(target=shared.run, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    running = jobs
    try:
        while running:
            outcome = shared.results.get()
            if isinstance(outcome, _Finished):
                running -= 1
            elif isinstance(outcome, _Raised):
                raise outcome.error
            else:
                yield outcome
    finally:
        shared.stopping.set()
