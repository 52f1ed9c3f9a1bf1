"""Which state of a tenant's content is the present one, so that no answer is older than the last change.

Every process hears every event that changes content, by a subscription of its own on core NATS, and forgets
at once what it kept of the tenant. Heartbeats of the indexer's outbox tell that nothing was missed: without
them nothing is cached. What is shared through Redis is agreed on there. Why this is right: docs/cache.md.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from redis.exceptions import RedisError

from quarry_common.cache.agreement import Agreement
from quarry_common.cache.cache import Cache
from quarry_common.cache.connection import open_redis
from quarry_common.cache.keys import Generation
from quarry_common.cache.listening import Listener
from quarry_common.cache.metrics import LAPSES, SHARING, TRUSTED
from quarry_common.cache.settings import CacheSettings
from quarry_common.cache.sharing import REDIS_SECONDS, Content, Sharing
from quarry_common.contracts import subjects
from quarry_common.waiting import woken

log = logging.getLogger(__name__)

PUBLISHER = "indexer"
CONTENT_EVENTS = (subjects.events("document"), subjects.events("collection"))
TICK_SECONDS = 0.25
PACE_SECONDS = 0.02
"""For which news are gathered before Redis is told: an import brings thousands."""
SETTLING_SECONDS = 2.0
"""For which a tenant's answers are not cached after a deletion: its event is published before its points are
gone."""
MAX_TENANTS = 50_000


class _EventId(msgspec.Struct, frozen=True):
    id: str


class Generations:
    """The generations of all tenants, as this process knows them. A part of a service: see `run`.

    `forget` drops a tenant's generation from memory, `forget_all` all that is there. Belongs to one event
    loop.
    """

    def __init__(
        self,
        connection: Client,
        forget: Callable[[UUID, str], None],
        forget_all: Callable[[], None],
        agreement: Agreement | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._forget = forget
        self._forget_all = forget_all
        self._clock = clock
        self._listener = Listener(
            connection, PUBLISHER, CONTENT_EVENTS, self._heard, self._lapse, clock=clock
        )
        self._sharing = Sharing(agreement, self._listener.hearing, clock)
        self._contents: OrderedDict[UUID, Content] = OrderedDict()
        """The one used last at the end."""
        self._made = 0
        self._woken = asyncio.Event()
        self._decode_id = msgspec.json.Decoder(_EventId).decode

    def trustworthy(self, tenant: UUID) -> bool:
        """Whether every change of the tenant's content published a second ago or earlier is known here."""
        if not self._listener.trusted():
            return False
        content = self._contents.get(tenant)
        return content is None or content.settled_at <= self._clock()

    def generation(self, tenant: UUID) -> Generation | None:
        """Return the present generation, or None when nothing may be cached now.

        Read it before what depends on it. No call waits for anything.
        """
        if not self.trustworthy(tenant):
            return None
        content = self._content(tenant)
        shared = self._sharing.generation(tenant, content)
        if shared is None and self._sharing.active:
            self._woken.set()
        return Generation(content.local, shared)

    def renew(self, tenant: UUID | None, cause: str) -> None:
        """Begin a new generation, of all tenants if none is named, as after an event that has the id `cause`.

        Whoever is told of the same cause agrees on the same generation.
        """
        for each in list(self._contents) if tenant is None else [tenant]:
            self._change(each, cause)

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen, and keep to what is agreed in Redis, until `stopping` is set."""
        try:
            await self._listener.open()
            while not stopping.is_set():
                await self._tick()
                await woken(self._woken, stopping, TICK_SECONDS)
                if self._woken.is_set():
                    await asyncio.sleep(PACE_SECONDS)
                    self._woken.clear()
        finally:
            await self._listener.close()
            TRUSTED.set(0)
            SHARING.set(0)

    def _heard(self, message: Msg) -> None:
        try:
            tenant = UUID(subjects.tenant_of(message.subject))
        except ValueError:
            log.warning("cache: an event has no tenant: %s", message.subject)
            return
        try:
            event = self._decode_id(message.data).id
        except msgspec.MsgspecError:
            # Whatever it is, something has happened.
            event = str(uuid4())
        content = self._change(tenant, event)
        if message.subject.endswith(".deleted"):
            content.settled_at = self._clock() + SETTLING_SECONDS

    def _change(self, tenant: UUID, event: str) -> Content:
        content = self._content(tenant)
        self._forget(tenant, content.local)
        content.local = self._next()
        self._sharing.heard(tenant, content, event)
        self._woken.set()
        return content

    def _lapse(self) -> None:
        """Forget everything: an event could be missing."""
        LAPSES.inc()
        # Also what no event makes old: to be told to forget it is what may have been missed.
        self._forget_all()
        self._contents.clear()
        self._sharing.void()

    def _content(self, tenant: UUID) -> Content:
        content = self._contents.get(tenant)
        if content is None:
            content = self._contents[tenant] = Content(self._next())
            if len(self._contents) > MAX_TENANTS:
                self._make_room()
        self._contents.move_to_end(tenant)
        return content

    def _make_room(self) -> None:
        # One of which Redis has yet to be told stays; it is told within a moment.
        oldest = next((tenant for tenant, content in self._contents.items() if not content.untold), None)
        if oldest is not None:
            self._forget(oldest, self._contents.pop(oldest).local)

    def _next(self) -> str:
        """Return a generation that no entry of this process has had."""
        self._made += 1
        return str(self._made)

    async def _tick(self) -> None:
        TRUSTED.set(self._listener.trusted())
        while self._listener.whole() and await self._sharing.agree():
            pass
        SHARING.set(self._sharing.active)


@asynccontextmanager
async def open_generations(
    settings: CacheSettings, connection: Client, cache: Cache
) -> AsyncIterator[Generations]:
    """Yield this process's generations, for all caches over the tiers of `cache`; it is a part to be run.

    `connection` is the process's own to NATS. With CACHE_ENABLED=false it shares nothing; the cache keeps
    nothing then, whatever the generation.
    """
    if not settings.cache_enabled:
        yield Generations(connection, cache.forget, cache.forget_all, None)
        return
    redis = open_redis(settings, timeout_seconds=REDIS_SECONDS, connections=2)
    try:
        agreement = Agreement(redis, settings.cache_prefix)
        yield Generations(connection, cache.forget, cache.forget_all, agreement)
    finally:
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(REDIS_SECONDS):
                await redis.aclose()
