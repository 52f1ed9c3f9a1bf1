"""Webhooks: endpoints, deliveries, replays."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, condition, get, post

_PLACE = "/api/webhooks"


def create_webhook(
    url: str,
    *,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    headers: Mapping[str, str] | None = None,
    enabled: bool = True,
    ordered: bool = False,
    requests_per_second: int | None = None,
    secret: str | None = None,
    idempotency_key: str | None = None,
) -> Call[types.WebhookWithSecret]:
    """Make an endpoint that events are delivered to; its secret is in this answer alone.

    `event_types` are types of events, `<entity>.*`, or `*` for all, which None is, too.
    """
    body = {
        "url": url,
        "event_types": event_types,
        "description": description,
        "headers": headers,
        "enabled": enabled,
        "ordered": ordered,
        "requests_per_second": requests_per_second,
        "secret": secret,
    }
    return post(_PLACE, body, types.WebhookWithSecret, idempotency_key=idempotency_key)


def list_webhooks(*, limit: int = 50, cursor: str | None = None) -> Call[types.WebhookPage]:
    """List the tenant's endpoints, oldest first."""
    return get(_PLACE, types.WebhookPage, limit=limit, cursor=cursor)


def get_webhook(webhook_id: UUID) -> Call[types.Webhook]:
    """Read an endpoint and how it does."""
    return get(f"{_PLACE}/{webhook_id}", types.Webhook)


def update_webhook(
    webhook_id: UUID,
    *,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    headers: Mapping[str, str] | None = None,
    enabled: bool | None = None,
    ordered: bool | None = None,
    requests_per_second: int | msgspec.UnsetType | None = msgspec.UNSET,
    if_match: int | None = None,
) -> Call[types.Webhook]:
    """Change an endpoint; what is None, or UNSET, stays. `requests_per_second=None` is no limit.

    `if_match` is the only revision that is changed.
    """
    values = {
        "url": url,
        "event_types": event_types,
        "description": description,
        "headers": headers,
        "enabled": enabled,
        "ordered": ordered,
    }
    body: dict[str, object] = {name: value for name, value in values.items() if value is not None}
    if requests_per_second is not msgspec.UNSET:
        body["requests_per_second"] = requests_per_second
    return Call(
        "PATCH",
        f"{_PLACE}/{webhook_id}",
        types.Webhook,
        headers=condition(if_match),
        body=msgspec.json.encode(body),
        repeatable=if_match is None,
    )


def delete_webhook(webhook_id: UUID, *, if_match: int | None = None) -> Call[types.Webhook]:
    """Delete an endpoint and its log; a long log takes its time."""
    return Call(
        "DELETE",
        f"{_PLACE}/{webhook_id}",
        types.Webhook,
        headers=condition(if_match),
        repeatable=True,
        extra_seconds=25,
    )


def rotate_webhook_secret(
    webhook_id: UUID,
    *,
    overlap_hours: float | None = None,
    secret: str | None = None,
    idempotency_key: str | None = None,
) -> Call[types.WebhookWithSecret]:
    """Give an endpoint a new secret; the one before signs, too, during the overlap, by default for a day."""
    body = {"overlap_hours": overlap_hours, "secret": secret}
    path = f"{_PLACE}/{webhook_id}/rotate-secret"
    return post(path, body, types.WebhookWithSecret, idempotency_key=idempotency_key)


def send_webhook_test(webhook_id: UUID, *, idempotency_key: str | None = None) -> Call[types.Delivery]:
    """Have a test delivered now."""
    return post(f"{_PLACE}/{webhook_id}/test", None, types.Delivery, idempotency_key=idempotency_key)


def list_deliveries(
    webhook_id: UUID,
    *,
    state: types.DeliveryStateName | None = None,
    event_type: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[types.DeliveryPage]:
    """List an endpoint's deliveries, latest first."""
    return get(
        f"{_PLACE}/{webhook_id}/deliveries",
        types.DeliveryPage,
        state=state,
        event_type=event_type,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )


def get_delivery(webhook_id: UUID, delivery_id: UUID) -> Call[types.DeliveryDetail]:
    """Read a delivery with what is sent and its last attempts."""
    return get(f"{_PLACE}/{webhook_id}/deliveries/{delivery_id}", types.DeliveryDetail)


def redeliver(
    webhook_id: UUID, delivery_id: UUID, *, idempotency_key: str | None = None
) -> Call[types.Delivery]:
    """Have a delivery made again now."""
    path = f"{_PLACE}/{webhook_id}/deliveries/{delivery_id}/redeliver"
    return post(path, None, types.Delivery, idempotency_key=idempotency_key)


def recover_webhook(
    webhook_id: UUID,
    *,
    since: datetime,
    until: datetime | None = None,
    event_types: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[types.Replay]:
    """Have what has failed, is held or expired since a time made again."""
    body = {"since": since, "until": until, "event_types": event_types}
    return post(f"{_PLACE}/{webhook_id}/recover", body, types.Replay, idempotency_key=idempotency_key)


def replay_webhook(
    webhook_id: UUID,
    *,
    since: datetime,
    until: datetime | None = None,
    event_types: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[types.Replay]:
    """Have all events since a time delivered again, those delivered before, too."""
    body = {"since": since, "until": until, "event_types": event_types}
    return post(f"{_PLACE}/{webhook_id}/replay", body, types.Replay, idempotency_key=idempotency_key)


def get_replay(webhook_id: UUID, replay_id: UUID) -> Call[types.Replay]:
    """Read how far a recovery or a replay is."""
    return get(f"{_PLACE}/{webhook_id}/replays/{replay_id}", types.Replay)


def webhook_stats(webhook_id: UUID, *, hours: int = 24) -> Call[types.WebhookStats]:
    """Read an endpoint's success rate and durations."""
    return get(f"{_PLACE}/{webhook_id}/stats", types.WebhookStats, hours=hours)


def list_event_types() -> Call[types.EventTypes]:
    """List the types of events with their schemas."""
    return get(f"{_PLACE}/event-types", types.EventTypes)


def webhooks_overview(
    *, only_failing: bool = False, limit: int = 50, cursor: str | None = None
) -> Call[types.WebhooksOverview]:
    """Read what waits over all tenants; for operators."""
    only = "failing" if only_failing else None
    return get("/api/admin/webhooks", types.WebhooksOverview, only=only, limit=limit, cursor=cursor)
