"""Deliveries: listed, read, made again; and tests."""

from datetime import UTC, datetime

import msgspec

from quarry_common import cursors
from quarry_common.contracts.events import WebhookTest
from quarry_common.contracts.webhooks import (
    Delivery,
    DeliveryDetail,
    DeliveryPage,
    DeliveryRef,
    EndpointRef,
    ListDeliveries,
    SendTest,
)
from quarry_common.errors import ConflictError, NotFoundError
from quarry_common.ids import new_id
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_webhooks.domain.messages import Body, Message
from quarry_webhooks.handlers import bounded
from quarry_webhooks.handlers.endpoints import anonymous, locked, require
from quarry_webhooks.repository import deliveries as repository
from quarry_webhooks.repository import queues

_LIST = "deliveries"
LAST = 2**63 - 1
"""Place of a test among events: an endpoint that keeps the order waits for none."""


class Deliveries:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: ListDeliveries) -> DeliveryPage:
        """Return a page of an endpoint's deliveries, latest first. Raises `NotFoundError`."""
        limit = bounded(request.limit)
        before = cursors.decode_id(_LIST, request.cursor)
        async with self._database.tenant_transaction(request.ref.tenant_id) as connection:
            await require(connection, request.ref)
            page = await repository.page(connection, request, before, limit + 1)
        more = cursors.encode(_LIST, str(page[limit - 1].id)) if len(page) > limit else None
        return DeliveryPage(page[:limit], more)

    async def get(self, request: DeliveryRef) -> DeliveryDetail:
        """Return a delivery with what is sent and its attempts. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.endpoint.tenant_id) as connection:
            await require(connection, request.endpoint)
            delivery = await repository.find(connection, request.endpoint.endpoint_id, request.delivery_id)
            if delivery is None:
                raise _missing()
            payload = await repository.payload(connection, delivery.id)
            attempts = await repository.attempts(connection, delivery.id)
        return DeliveryDetail(delivery, msgspec.Raw(payload or b"null"), attempts)

    async def send_test(self, request: SendTest) -> Delivery:
        """Have a test delivered now, whatever the endpoint filters, though it be disabled.

        Raises `NotFoundError`, and `ConflictError` when too many are on their way.
        """
        ref = request.ref

        async def send(connection: Connection) -> Delivery:
            await self._make_room(connection, ref)
            now = datetime.now(UTC)
            message = _test(ref, now)
            delivery = await repository.add_forced(connection, new_id(), ref.endpoint_id, message, now)
            await queues.wake(connection, ref.endpoint_id)
            return delivery

        asked = fingerprint("send_test", anonymous(ref))
        sent, _ = await once(self._database, ref.tenant_id, request.idempotency_key, asked, Delivery, send)
        return sent

    async def redeliver(self, request: DeliveryRef) -> Delivery:
        """Have a delivery tried now, whatever became of it, though its endpoint be disabled.

        Raises `NotFoundError`, and `ConflictError` when too many are on their way or its message is not kept.
        """
        ref = request.endpoint

        async def again(connection: Connection) -> Delivery:
            await self._make_room(connection, ref)
            if await repository.find(connection, ref.endpoint_id, request.delivery_id) is None:
                raise _missing()
            if await repository.payload(connection, request.delivery_id) is None:
                raise ConflictError(
                    "What was to be delivered is not kept any more.", advice="Replay the range."
                )
            now = datetime.now(UTC)
            delivery = await repository.force(connection, ref.endpoint_id, request.delivery_id, now)
            if delivery is None:
                raise _missing()
            await queues.wake(connection, ref.endpoint_id)
            return delivery

        asked = fingerprint("redeliver", anonymous(ref), request.delivery_id)
        done, _ = await once(self._database, ref.tenant_id, request.idempotency_key, asked, Delivery, again)
        return done

    async def _make_room(self, connection: Connection, ref: EndpointRef) -> None:
        """Hold the endpoint. Raises `ConflictError` when enough is forced that was not tried yet."""
        await locked(connection, ref)
        if (forced := await repository.forced(connection, ref.endpoint_id)) >= repository.FORCED_AT_ONCE:
            raise ConflictError(
                f"{forced} deliveries to the endpoint were asked for and are not tried yet.",
                advice="Wait until they are; recover many at once with POST …/recover.",
            )


def _test(ref: EndpointRef, now: datetime) -> Message:
    event = WebhookTest(ref.endpoint_id)
    event_id, subject = new_id(), event.subject_id
    data = msgspec.Raw(msgspec.json.encode(event))
    body = Body(str(event_id), event.type, now, subject, str(ref.tenant_id), data)
    return Message(
        id=event_id,
        tenant_id=ref.tenant_id,
        event_type=event.type,
        subject=subject,
        payload=msgspec.json.encode(body),
        traceparent=tracing.traceparent(),
        occurred_at=now,
        position=LAST,
    )


def _missing() -> NotFoundError:
    return NotFoundError("There is no such delivery.")
