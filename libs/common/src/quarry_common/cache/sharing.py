"""This process's part in the agreement: what it has yet to tell, and which generations it may use."""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from redis.exceptions import RedisError

from quarry_common.cache.agreement import JOIN_SECONDS, MAX_EVENTS, Agreed, Agreement, News
from quarry_common.cache.connection import trouble
from quarry_common.cache.hearing import Hearing

log = logging.getLogger(__name__)

REDIS_SECONDS = 0.5
"""No request waits for it, so it may be patient."""
REFRESH_SECONDS = 5.0
"""After which the generation of a tenant in use is asked for again: its record may have been made anew."""


class Content:
    """What is known of a tenant's content. `local` names its state for this process alone."""

    __slots__ = ("asked_at", "local", "settled_at", "shared", "term", "untold", "wanted")

    def __init__(self, local: str) -> None:
        self.local = local
        self.settled_at = float("-inf")
        self.untold: list[str] = []
        """Events that Redis has yet to be told of."""
        self.shared: str | None = None
        self.term = 0
        """In which `shared` was agreed on."""
        self.wanted = False
        self.asked_at = float("-inf")


class Sharing:
    """Keeps to the agreement. Without one, nothing is shared. Calls of `agree` must not overlap."""

    def __init__(self, agreement: Agreement | None, hearing: Hearing, clock: Callable[[], float]) -> None:
        self._agreement = agreement
        self._hearing = hearing
        self._clock = clock
        self._due: dict[UUID, Content] = {}
        self._watch = ""
        self._term = 1
        """Counts the times that all shared generations became void."""
        self._apart_until = float("-inf")
        """Since when this process has told Redis of every event; before, others must have."""

    @property
    def active(self) -> bool:
        """Whether this process is on the watch."""
        return bool(self._watch)

    def heard(self, tenant: UUID, content: Content, event: str) -> None:
        """Let Redis be told of an event."""
        content.shared = None
        if self._agreement is not None:
            content.untold.append(event)
            self._due[tenant] = content

    def generation(self, tenant: UUID, content: Content) -> str | None:
        """Return the generation agreed on; it is asked for when there is none, and now and then."""
        shared = content.shared if content.term == self._term else None
        if self._agreement is not None and (
            shared is None or self._clock() - content.asked_at >= REFRESH_SECONDS
        ):
            content.wanted = True
            self._due[tenant] = content
        return shared

    def void(self) -> None:
        """Forget everything: events were lost."""
        for content in self._due.values():
            content.untold.clear()
        self._due.clear()
        self._leave()

    async def agree(self) -> bool:
        """Tell Redis what was heard and take over what it answers; return whether there is more to tell."""
        if self._agreement is None:
            return False
        now = self._clock()
        hears = self._hearing.in_time(now)
        if not hears and not self.active:
            # It may not join before it hears again; until then others have to tell.
            self._step_aside(now)
            return False
        news, complete = self._news()
        vouching = hears and complete
        if not news and not vouching:
            return False
        heard_since = max(self._hearing.since, self._apart_until)
        term = self._term
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                agreed = await self._agreement.exchange(
                    news,
                    hearing=hears,
                    vouching=vouching,
                    joining=hears and now - heard_since >= JOIN_SECONDS,
                )
        except (RedisError, OSError, TimeoutError) as error:
            if self.active:
                log.warning("cache: nothing is shared while Redis is away: %s", trouble(error))
            self._step_aside(self._clock())
            return False
        if term != self._term:
            # Events were lost meanwhile: it is no longer on the watch that it was answered for.
            self._agreement.leave()
            return False
        if agreed is not None:
            self._take_over(agreed, news, now)
        return agreed is not None and not complete

    def _news(self) -> tuple[dict[UUID, News], bool]:
        """Return what Redis is to be told next, and whether that is all."""
        news: dict[UUID, News] = {}
        room = MAX_EVENTS
        for tenant, content in self._due.items():
            if room <= 0:
                return news, False
            events = list(content.untold[:room])
            news[tenant] = News(events, content.wanted)
            if len(events) < len(content.untold):
                return news, False
            room -= 1 + len(events)
        return news, True

    def _take_over(self, agreed: Agreed, news: dict[UUID, News], now: float) -> None:
        if agreed.generations is None:
            # Not on the watch yet. What was heard is kept until it may be told.
            self._leave()
            return
        if agreed.watch != self._watch:
            self._term += 1
            self._watch = agreed.watch
        for tenant, generation in agreed.generations.items():
            content = self._due[tenant]
            del content.untold[: len(news[tenant].events)]
            if content.untold:
                continue
            del self._due[tenant]
            content.shared, content.term = generation or None, self._term
            content.wanted, content.asked_at = False, now

    def _step_aside(self, now: float) -> None:
        """Be to the others like a process that has just begun to listen: they tell what this one did not."""
        self._apart_until = now
        self.void()

    def _leave(self) -> None:
        self._term += 1
        self._watch = ""
        if self._agreement is not None:
            self._agreement.leave()
