"""Answers of another service, believed for a few seconds and asked for once at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from quarry_common.errors import ErrorData, RemoteError
from quarry_gateway.ttl_map import TtlMap

IdT = TypeVar("IdT", bound=Hashable)
FoundT = TypeVar("FoundT")

REFUSED_SECONDS = 2.0


class Resolver(Generic[IdT, FoundT]):
    """Looks things up by id with `ask`.

    Refusals (4xx) are remembered apart, so that invented ids cannot push real ones out; other errors are not
    remembered. Callers that ask for one id at the same time share one question.
    """

    def __init__(
        self, ask: Callable[[IdT], Awaitable[FoundT]], *, ttl_seconds: float, max_entries: int
    ) -> None:
        self._ask = ask
        self._found: TtlMap[IdT, FoundT] = TtlMap(ttl_seconds, max_entries)
        self._refused: TtlMap[IdT, ErrorData] = TtlMap(min(REFUSED_SECONDS, ttl_seconds), max_entries)
        self._asking: dict[IdT, asyncio.Task[FoundT]] = {}

    async def resolve(self, identity: IdT) -> FoundT:
        """Return what `identity` stands for. Raises what `ask` raises."""
        found = self._found.get(identity)
        if found is not None:
            return found
        refusal = self._refused.get(identity)
        if refusal is not None:
            raise RemoteError(refusal)
        task = self._asking.get(identity)
        if task is None:
            task = self._asking[identity] = asyncio.create_task(self._look_up(identity))
            task.add_done_callback(lambda done: self._answered(identity, done))
        # One caller's disconnect must not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self, matches: Callable[[FoundT], bool]) -> None:
        """Forget everything found that `matches`."""
        self._found.drop(matches)

    async def _look_up(self, identity: IdT) -> FoundT:
        asked_at = self._found.now()
        try:
            found = await self._ask(identity)
        except RemoteError as error:
            if 400 <= error.data.status < 500:
                self._refused.put(identity, error.data, asked_at)
            raise
        self._found.put(identity, found, asked_at)
        return found

    def _answered(self, identity: IdT, task: asyncio.Task[FoundT]) -> None:
        self._asking.pop(identity, None)
        if not task.cancelled():
            task.exception()  # every caller may have gone; then nobody else looks at it
