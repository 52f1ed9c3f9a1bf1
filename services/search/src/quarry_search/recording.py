"""The search log: what was answered is told in the background, and no search waits for it.

What was answered waits in a bounded list, and is sent several times a second, one message per tenant. What
finds no room, or was not acknowledged in time, is counted, and the count is sent in its place.
"""

import asyncio
import itertools
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from opentelemetry import trace

from quarry_common.contracts import subjects
from quarry_common.contracts.events import CloudEvent, EventData, schema_id
from quarry_common.contracts.events.searches import MAX_QUERY_LENGTH, Searched, SearchesUnrecorded
from quarry_common.contracts.filters import collection_limits
from quarry_common.contracts.search import Answer, Query
from quarry_common.ids import new_id, time_of
from quarry_common.waiting import woken
from quarry_search.metrics import RECORDED, UNRECORDED, UNSENT

log = logging.getLogger(__name__)

MAX_WAITING: Final = 5_000
TOGETHER: Final = 100
"""As many are sent at once: encoding them keeps the loop for about a millisecond."""
EVERY_SECONDS: Final = 0.25
PUBLISH_SECONDS: Final = 5.0
ATTEMPTS: Final = 3
AGAIN_SECONDS: Final = 1.0
CONTENT_TYPE: Final = "application/cloudevents-batch+json"

_encode = msgspec.json.Encoder().encode


class _Noted(msgspec.Struct, frozen=True):
    tenant_id: UUID
    searched: Searched


class Recorder:
    """Sends what was searched to the stream SEARCHES. A process that is killed loses what it has not sent."""

    def __init__(self, bus: Client, instance: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._stream = bus.jetstream(timeout=PUBLISH_SECONDS)
        self._instance = instance
        self._max_waiting = max_waiting
        self._waiting: deque[_Noted] = deque()
        self._unrecorded: dict[UUID, int] = defaultdict(int)
        self._enough = asyncio.Event()

    def note(self, query: Query, answer: Answer, seconds: float) -> None:
        """Take note of an answered search; returns at once, and never raises."""
        if len(self._waiting) >= self._max_waiting:
            self._lost(query.tenant_id, 1)
            return
        self._waiting.append(_Noted(query.tenant_id, searched(query, answer, seconds)))
        if len(self._waiting) >= TOGETHER:
            self._enough.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until `stopping` is set; what is answered after that, `flush` sends."""
        while not stopping.is_set():
            self._enough.clear()
            await self.flush()
            await woken(self._enough, stopping, EVERY_SECONDS)

    async def flush(self) -> None:
        """Send what waits now."""
        UNSENT.set(len(self._waiting))
        left = len(self._waiting)
        while left > 0 and self._waiting:
            together = [self._waiting.popleft() for _ in range(min(TOGETHER, left, len(self._waiting)))]
            left -= len(together)
            await self._send(together)
        await self._tell_unrecorded()
        UNSENT.set(len(self._waiting))

    async def _send(self, together: Sequence[_Noted]) -> None:
        by_tenant: dict[UUID, list[Searched]] = defaultdict(list)
        for noted in together:
            by_tenant[noted.tenant_id].append(noted.searched)
        sent = await asyncio.gather(
            *(self._publish(tenant_id, searches) for tenant_id, searches in by_tenant.items())
        )
        for (tenant_id, searches), acknowledged in zip(by_tenant.items(), sent, strict=True):
            if acknowledged:
                RECORDED.inc(len(searches))
            else:
                self._lost(tenant_id, len(searches))

    async def _tell_unrecorded(self) -> None:
        for tenant_id, searches in list(self._unrecorded.items()):
            told = SearchesUnrecorded(searches=searches, instance=self._instance)
            if not await self._publish(tenant_id, [told], attempts=1):
                return  # they are told of the next time
            self._unrecorded[tenant_id] -= searches
            if not self._unrecorded[tenant_id]:
                del self._unrecorded[tenant_id]

    async def _publish(self, tenant_id: UUID, told: Sequence[EventData], attempts: int = ATTEMPTS) -> bool:
        """Send events of a tenant as one message; return whether it was acknowledged.

        The same message may be stored twice: each event has an id by which it counts once.
        """
        message_id = str(new_id())
        body = _encode([_event(tenant_id, each) for each in told])
        headers = {"Nats-Msg-Id": message_id, "Content-Type": CONTENT_TYPE}
        for attempt in itertools.count(1):
            try:
                await self._stream.publish(
                    subjects.search_log(tenant_id), body, timeout=PUBLISH_SECONDS, headers=headers
                )
            except (NatsError, TimeoutError, OSError) as error:
                log.warning("searches could not be recorded: %s", type(error).__name__)
                if attempt == attempts:
                    return False
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return True
        raise AssertionError

    def _lost(self, tenant_id: UUID, searches: int) -> None:
        UNRECORDED.inc(searches)
        self._unrecorded[tenant_id] += searches


def searched(query: Query, answer: Answer, seconds: float) -> Searched:
    """Return what the log holds of an answered search that took so long."""
    limits = collection_limits(query.filters)
    named = set(limits[0].values).intersection(*(each.values for each in limits[1:])) if limits else set()
    span = trace.get_current_span().get_span_context()
    return Searched(
        query_id=answer.query_id,
        occurred_at=time_of(answer.query_id),
        query=query.query[:MAX_QUERY_LENGTH],
        mode=query.mode,
        collection=str(next(iter(named))) if len(named) == 1 else None,
        filtered=query.filters is not None,
        continued=query.cursor is not None,
        total=answer.total,
        results=list(dict.fromkeys(result.document_id for result in answer.results)),
        top_score=max((result.score for result in answer.results), default=None),
        similarity=answer.similarity,
        duration_ms=round(seconds * 1000, 3),
        cache=answer.cache,
        key_id=query.asker.key_id,
        user_id=query.asker.user_id,
        client_id=query.asker.client_id,
        trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
    )


def _event(tenant_id: UUID, data: EventData) -> CloudEvent:
    known = isinstance(data, Searched)
    return CloudEvent(
        id=data.subject_id if known else str(new_id()),
        source="/quarry/search",
        type=data.type,
        subject=data.subject_id,
        time=data.occurred_at if isinstance(data, Searched) else datetime.now(UTC),
        tenantid=str(tenant_id),
        data=msgspec.Raw(_encode(data)),
        specversion="1.0",
        datacontenttype="application/json",
        dataschema=schema_id(type(data)),
    )
