"""Taking in what the search log tells: decoded, checked, and written once, whatever comes twice or late."""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from prometheus_client import Counter

from quarry_analytics.domain.collapsing import WINDOW
from quarry_analytics.domain.texts import hash_of, normal, storable
from quarry_analytics.domain.users import digest_of
from quarry_analytics.repository import recording
from quarry_analytics.repository.recording import InteractionRow, SearchRow, UnrecordedRow
from quarry_common.contracts.events import CloudEvent
from quarry_common.contracts.events.searches import Interacted, Searched, SearchesUnrecorded
from quarry_common.ids import time_of
from quarry_common.messaging.consumer import Delivery, PermanentError
from quarry_common.postgres.pool import Connection, Database

log = logging.getLogger(__name__)

MAX_AHEAD: Final = timedelta(hours=1)
"""That the clocks of those who tell may be ahead."""

TAKEN = Counter("analytics_taken_total", "Records written down.", ("kind",))
REPEATED = Counter("analytics_repeated_total", "Records that were written down before.", ("kind",))
OUT_OF_RANGE = Counter("analytics_out_of_range_total", "Records older than what is kept, or of the future.")
_decode = msgspec.json.Decoder(list[CloudEvent]).decode


class _Batch:
    """What several messages tell."""

    def __init__(self, first: datetime, last: datetime, low_confidence: float) -> None:
        self.searches: dict[UUID, SearchRow] = {}
        self.interactions: dict[tuple[UUID, UUID], InteractionRow] = {}
        self.unrecorded: dict[UUID, UnrecordedRow] = {}
        self._first = first
        self._last = last
        self._low_confidence = low_confidence

    def take(self, event: CloudEvent) -> None:
        """Take in one event. Raises `msgspec.ValidationError` or `ValueError` for what it is not."""
        tenant_id = UUID(event.tenantid)
        match event.type:
            case Searched.type:
                self._search(tenant_id, msgspec.json.decode(event.data, type=Searched))
            case Interacted.type:
                self._interaction(tenant_id, msgspec.json.decode(event.data, type=Interacted))
            case SearchesUnrecorded.type:
                told = msgspec.json.decode(event.data, type=SearchesUnrecorded)
                self.unrecorded[UUID(event.id)] = UnrecordedRow(
                    tenant_id, UUID(event.id), event.time, told.searches
                )
            case _:
                raise msgspec.ValidationError(f"unknown event type {event.type}")

    def _kept(self, moment: datetime) -> bool:
        if self._first <= moment < self._last:
            return True
        OUT_OF_RANGE.inc()
        return False

    def _search(self, tenant_id: UUID, told: Searched) -> None:
        moment = time_of(told.query_id)
        if not self._kept(moment):
            return
        query = storable(told.query)
        self.searches[told.query_id] = SearchRow(
            tenant_id=tenant_id,
            query_id=told.query_id,
            occurred_at=moment,
            query=query,
            query_hash=hash_of(normal(query)),
            mode=told.mode.value,
            collection=told.collection or "",
            filtered=told.filtered,
            continued=told.continued,
            low_confidence=low_confidence(told, self._low_confidence),
            total=told.total,
            results=told.results,
            top_score=told.top_score,
            similarity=told.similarity,
            duration_ms=told.duration_ms,
            cache=told.cache.value,
            key_id=told.key_id,
            user_id=_text(told.user_id),
            client_id=_text(told.client_id),
            trace_id=told.trace_id,
        )

    def _interaction(self, tenant_id: UUID, told: Interacted) -> None:
        searched_at = time_of(told.query_id)
        if not self._kept(searched_at):
            return
        self.interactions[tenant_id, told.event_id] = InteractionRow(
            tenant_id=tenant_id,
            event_id=told.event_id,
            query_id=told.query_id,
            searched_at=searched_at,
            occurred_at=told.occurred_at,
            action=storable(told.action),
            document_id=told.document_id,
            value=told.value,
            user_id=_text(told.user_id),
            client_id=_text(told.client_id),
            session_id=_text(told.session_id),
        )


class Recording:
    """Writes down what messages of the search log tell."""

    def __init__(self, database: Database, *, keep_days: int, low_confidence: float) -> None:
        """`low_confidence` is the similarity of the nearest passage below which a search is one of low
        confidence."""
        self._database = database
        self._keep_days = keep_days
        self._low_confidence = low_confidence

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Write down what messages tell, in one transaction; harmless to repeat.

        Raises `PermanentError` when one of them cannot be read: then nothing of any is written.
        """
        now = datetime.now(UTC)
        batch = _Batch(now - timedelta(days=self._keep_days), now + MAX_AHEAD, self._low_confidence)
        for delivery in deliveries:
            try:
                for event in _decode(delivery.body):
                    batch.take(event)
            except (msgspec.MsgspecError, ValueError) as error:
                raise PermanentError(f"a message of the search log cannot be read: {error}") from error
        async with self._database.worker_transaction() as worker:
            await _write(worker, batch)


async def _write(worker: Connection, batch: _Batch) -> None:
    searches, interactions = list(batch.searches.values()), list(batch.interactions.values())
    tenants = {row.tenant_id for row in searches} | {row.tenant_id for row in interactions}
    if gone := await recording.forgotten(worker, tenants):
        searches = [row for row in searches if not _forgotten(gone, row)]
        interactions = [row for row in interactions if not _forgotten(gone, row)]
    days = set(_days(searches, interactions))
    await recording.add_days(worker, {day for _, day in days})
    for kind, add in (
        ("search", recording.add_searches(worker, searches) if searches else None),
        ("interaction", recording.add_interactions(worker, interactions) if interactions else None),
    ):
        if add is not None:
            written = await add
            TAKEN.labels(kind).inc(written)
            REPEATED.labels(kind).inc(len(searches if kind == "search" else interactions) - written)
    if batch.unrecorded:
        await recording.add_unrecorded(worker, list(batch.unrecorded.values()))
    if days:
        await recording.mark(worker, days)


def _days(
    searches: Iterable[SearchRow], interactions: Iterable[InteractionRow]
) -> Iterable[tuple[UUID, date]]:
    for row in searches:
        yield row.tenant_id, row.occurred_at.date()
        # It may collapse one of the day before.
        yield row.tenant_id, (row.occurred_at - WINDOW).date()
    for interaction in interactions:
        yield interaction.tenant_id, interaction.searched_at.date()


def _forgotten(gone: dict[tuple[UUID, bytes], datetime], row: SearchRow | InteractionRow) -> bool:
    if row.user_id is None:
        return False
    forgotten_at = gone.get((row.tenant_id, digest_of(row.user_id)))
    return forgotten_at is not None and row.occurred_at <= forgotten_at


def low_confidence(told: Searched, below: float) -> bool:
    """Whether a search found something, and nothing near: of keyword searches nothing can be said."""
    return told.total > 0 and told.similarity is not None and told.similarity < below


def _text(text: str | None) -> str | None:
    return None if text is None else storable(text)
