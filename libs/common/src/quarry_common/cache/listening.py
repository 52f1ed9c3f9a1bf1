"""Hearing every event of a service, and knowing when one could have been missed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from quarry_common.cache.hearing import MAX_DELAY_SECONDS, MAX_LAG_MS, SILENCE_SECONDS, Hearing
from quarry_common.messaging import heartbeat
from quarry_common.messaging.heartbeat import Beat

log = logging.getLogger(__name__)

UNHEARD_SECONDS = SILENCE_SECONDS + MAX_DELAY_SECONDS + MAX_LAG_MS / 1000
"""What happened so long ago has been heard of, if anything is trusted: it was published and has come."""


class Listener:
    """Listens on core NATS to `subjects`, on which the outbox of `service` publishes, and to its heartbeats.

    `heard` is called for each event, `lapsed` when one could have been missed. Belongs to one event loop;
    `clock` gives seconds that never go back. Why silence can be believed: docs/cache.md.
    """

    def __init__(
        self,
        connection: Client,
        service: str,
        subjects: Sequence[str],
        heard: Callable[[Msg], None],
        lapsed: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hearing = Hearing()
        self._connection = connection
        self._service = service
        self._subjects = subjects
        self._heard = heard
        self._lapsed = lapsed
        self._clock = clock
        self._connected = False
        self._reconnects = 0
        self._events: list[Subscription] = []
        self._heartbeats: Subscription | None = None
        self._decode_beat = msgspec.json.Decoder(Beat).decode

    async def open(self) -> None:
        """Begin to listen."""
        # Events before heartbeats: who hears the first heartbeat hears every event after it.
        for subject in self._subjects:
            self._events.append(await self._subscribe(subject, self._hear_event))
        self._heartbeats = await self._subscribe(heartbeat.subject(self._service), self._hear_beat)

    async def close(self) -> None:
        """End; nothing is trusted any more."""
        self.hearing.lose()
        for subscription in [*self._events, *([self._heartbeats] if self._heartbeats else [])]:
            with suppress(NatsError):
                await subscription.unsubscribe()

    def whole(self) -> bool:
        """Return whether there is a connection; when it is not the one that was, events could be missing."""
        connected = self._connection.is_connected
        reconnects = self._connection.stats["reconnects"]
        if self._connected and (not connected or reconnects != self._reconnects):
            self.hearing.lose()
            self._lapsed()
        self._connected, self._reconnects = connected, reconnects
        return connected

    def trusted(self) -> bool:
        """Return whether everything that was published a second ago or earlier has been heard."""
        return self.whole() and self.hearing.trusted(self._clock())

    def complete_until(self, since: float) -> float | None:
        """Return until when all that happened from `since` on has been heard; None if some may not be."""
        now = self._clock()
        return now - UNHEARD_SECONDS if self.trusted() and since >= self.hearing.since else None

    async def _subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Subscription:
        # Without bounds: nats-py drops what is beyond them. The callbacks are quick.
        return await self._connection.subscribe(
            subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def _hear_event(self, message: Msg) -> None:
        self._heard(message)

    async def _hear_beat(self, message: Msg) -> None:
        # Each subscription has a queue of its own; what came before this heartbeat must not be behind it.
        while any(each.pending_msgs for each in self._events):  # noqa: ASYNC110 - they empty at once
            await asyncio.sleep(0)
        try:
            beat = self._decode_beat(message.data)
        except msgspec.MsgspecError:
            log.warning("a heartbeat of %s cannot be read", self._service)
            return
        self.whole()
        if self.hearing.hear(beat, self._clock()):
            self._lapsed()
