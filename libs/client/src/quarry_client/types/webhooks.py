"""Webhooks: endpoints, deliveries and their attempts."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

DeliveryStateName = Literal["pending", "delivered", "failed", "held", "expired"]
DELIVERY_STATES: tuple[DeliveryStateName, ...] = ("pending", "delivered", "failed", "held", "expired")


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that events are delivered to."""

    id: UUID
    url: str
    description: str
    event_types: list[str]
    header_names: list[str]
    enabled: bool
    disabled_reason: str | None = None
    """`owner`, `gone`, `requested` or `failing`."""
    disabled_at: datetime | None = None
    ordered: bool
    requests_per_second: int | None = None
    circuit: str
    """`closed`, or `open` after failures: no attempts before `circuit_until`."""
    circuit_until: datetime | None = None
    failing_since: datetime | None = None
    last_delivered_at: datetime | None = None
    secret_expires_at: datetime | None = None
    pending: int
    held: int
    created_at: datetime
    updated_at: datetime
    revision: int


class WebhookWithSecret(msgspec.Struct, frozen=True):
    """An endpoint with its secret, which is shown this once."""

    endpoint: Webhook
    secret: str


class WebhookPage(msgspec.Struct, frozen=True):
    """Some endpoints and where to go on."""

    endpoints: list[Webhook]
    next_cursor: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an endpoint."""

    number: int
    started_at: datetime
    duration_ms: float
    outcome: str
    status: int | None = None
    detail: str
    response_headers: dict[str, str]
    response_excerpt: str
    url: str
    request_headers: dict[str, str]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one endpoint."""

    id: UUID
    endpoint_id: UUID
    webhook_id: str
    """What all attempts carry as `webhook-id`."""
    event_type: str
    subject: str
    state: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    last_outcome: str | None = None
    last_status: int | None = None


class DeliveryDetail(msgspec.Struct, frozen=True):
    """A delivery with what is sent and its last attempts, latest first."""

    delivery: Delivery
    payload: Any
    attempts: list[Attempt]


class DeliveryPage(msgspec.Struct, frozen=True):
    """Some deliveries and where to go on."""

    deliveries: list[Delivery]
    next_cursor: str | None = None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A job that makes deliveries of a range again."""

    id: UUID
    endpoint_id: UUID
    kind: str
    state: str
    """`queued`, `running`, `succeeded` or `failed`."""
    since: datetime
    until: datetime
    event_types: list[str]
    examined: int
    matched: int
    created_at: datetime
    finished_at: datetime | None = None
    error: str = ""


class WebhookHour(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in an hour, or in all; rates and times are None when nothing was."""

    hour: datetime
    attempts: int
    delivered: int
    failed: int
    success_rate: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


class WebhookStats(msgspec.Struct, frozen=True):
    """How an endpoint has done."""

    total: WebhookHour
    hours: list[WebhookHour]


class EventType(msgspec.Struct, frozen=True):
    """A type of event, with the JSON Schema of its data and an example of that."""

    type: str
    description: str
    schema: dict[str, Any]
    example: dict[str, Any]


class EventTypes(msgspec.Struct, frozen=True):
    """Every type of event by name."""

    event_types: list[EventType]


class TenantWebhook(msgspec.Struct, frozen=True):
    """An endpoint and whose it is."""

    tenant_id: UUID
    endpoint: Webhook


class WebhooksOverview(msgspec.Struct, frozen=True):
    """What waits over all tenants, and endpoints, those in trouble first."""

    pending: int
    held: int
    endpoints: list[TenantWebhook]
    oldest_due_at: datetime | None = None
    next_cursor: str | None = None
