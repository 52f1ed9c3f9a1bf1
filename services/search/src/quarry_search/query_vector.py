"""The dense vector of a query, made beside other things."""

import asyncio
from collections.abc import Callable, Coroutine

from quarry_common.vectors.points import DenseVector


class QueryVector:
    """The dense vector of one query, made once.

    It may be begun before it is known whether it is needed: what is made for nothing is kept by the cache of
    query vectors.
    """

    def __init__(self, embed: Callable[[], Coroutine[None, None, DenseVector]], *, ahead: bool) -> None:
        self._embed = embed
        self._ahead = ahead
        self._task: asyncio.Task[DenseVector] | None = None

    def begin(self) -> asyncio.Task[DenseVector]:
        """Return what makes the vector, under way."""
        if self._task is None:
            self._task = asyncio.create_task(self._embed())
        return self._task

    def begin_ahead(self) -> None:
        """Let it be made now, if that costs nothing besides time; its error is told to whoever needs it."""
        if self._ahead:
            self.begin().add_done_callback(lambda task: task.cancelled() or task.exception())
