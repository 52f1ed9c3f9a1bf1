"""Webhooks: endpoints, deliveries and their attempts: `rpc.v1.webhooks.*`.

An event that an endpoint wants becomes a delivery, which is attempted until it succeeds or its schedule is at
its end. The form and the signatures are those of Standard Webhooks 1.0.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.audit import Actor
from quarry_common.contracts.purging import Purged, PurgeTenant
from quarry_common.contracts.rpc import RpcMethod

MAX_URL_LENGTH = 2_048
MAX_HEADERS = 20
MAX_FILTERS = 50
MAX_OVERLAP_HOURS = 168

Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL_LENGTH, examples=["https://acme.example/hooks"])]
EventFilter = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^(?:\*|[a-z][a-z_]*\.(?:\*|[a-z][a-z_]*))$(?!\n)",
        examples=["document.*"],
    ),
]
"""A type of event, `<entity>.*`, or `*` for all."""
HeaderName = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$(?!\n)")
]
HeaderValue = Annotated[str, Meta(max_length=1_000, pattern=r"^[\x20-\x7e]*$(?!\n)")]
Secret = Annotated[str, Meta(max_length=100, pattern=r"^whsec_[A-Za-z0-9+/]+={0,2}$(?!\n)")]
"""`whsec_` and 24 to 64 bytes in base64."""


class DisabledReason(StrEnum):
    """Why an endpoint gets nothing."""

    OWNER = "owner"
    """Somebody switched it off: events are not kept for it meanwhile."""
    GONE = "gone"
    """It answered 410."""
    REQUESTED = "requested"
    """It answered with the header `webhook-delivery: disable`."""
    FAILING = "failing"
    """Nothing was delivered for five days."""


class Circuit(StrEnum):
    """Whether attempts are made at all, after several in a row have failed."""

    CLOSED = "closed"
    OPEN = "open"
    """None before `circuit_until`; then one is a probe for all."""


class EndpointChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What shall be otherwise; what is left out stays."""

    url: Url | msgspec.UnsetType = msgspec.UNSET
    description: Annotated[str, Meta(max_length=500)] | msgspec.UnsetType = msgspec.UNSET
    event_types: Annotated[list[EventFilter], Meta(max_length=MAX_FILTERS)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    headers: Annotated[dict[HeaderName, HeaderValue], Meta(max_length=MAX_HEADERS)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    ordered: bool | msgspec.UnsetType = msgspec.UNSET
    requests_per_second: Annotated[int, Meta(ge=1, le=1_000)] | msgspec.UnsetType | None = msgspec.UNSET


class NewEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where events shall be delivered to."""

    url: Url
    description: Annotated[str, Meta(max_length=500)] = ""
    event_types: Annotated[list[EventFilter], Meta(min_length=1, max_length=MAX_FILTERS)] = msgspec.field(
        default_factory=lambda: ["*"]
    )
    headers: Annotated[dict[HeaderName, HeaderValue], Meta(max_length=MAX_HEADERS)] = {}
    """Sent with every attempt besides the others, such as `Authorization`. They are kept encrypted and shown
    by their names only."""
    enabled: bool = True
    ordered: bool = False
    """Whether each event waits until the one before it is delivered or given up."""
    requests_per_second: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    secret: Secret | None = None
    """One is made when none is given."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver of a tenant's events."""

    id: UUID
    url: str
    description: str
    event_types: list[str]
    header_names: list[str]
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    ordered: bool
    requests_per_second: int | None
    circuit: Circuit
    circuit_until: datetime | None
    failing_since: datetime | None
    """Since when nothing was delivered though it was tried; None while it works."""
    last_delivered_at: datetime | None
    secret_expires_at: datetime | None
    """Until when the secret before the present one signs, too."""
    pending: int
    """Deliveries that wait for their next attempt."""
    held: int
    """Deliveries that are kept while the endpoint is disabled, for 14 days at most."""
    created_at: datetime
    updated_at: datetime
    revision: int


class EndpointWithSecret(msgspec.Struct, frozen=True):
    """An endpoint with its secret, which is shown this once."""

    endpoint: Endpoint
    secret: str


class CreateEndpoint(msgspec.Struct, frozen=True):
    """Asks for a new endpoint. Raises `QuotaExceededError` (`webhooks`) beyond `limit`."""

    tenant_id: UUID
    endpoint: NewEndpoint
    limit: int | None
    idempotency_key: str | None = None
    actor: Actor = Actor()


class EndpointRef(msgspec.Struct, frozen=True):
    """Names a tenant's endpoint."""

    tenant_id: UUID
    endpoint_id: UUID
    actor: Actor = Actor()
    revision: int | None = None
    """The only revision that may be changed (`If-Match`); None is any."""


class ListEndpoints(msgspec.Struct, frozen=True):
    """Asks for a page of a tenant's endpoints, oldest first."""

    tenant_id: UUID
    limit: int
    cursor: str | None = None


class EndpointPage(msgspec.Struct, frozen=True):
    """Endpoints, and where to go on."""

    endpoints: list[Endpoint]
    next_cursor: str | None = None


class UpdateEndpoint(msgspec.Struct, frozen=True):
    """Asks for changes of an endpoint. Enabling it makes what is held pending again."""

    ref: EndpointRef
    changes: EndpointChanges


class RotateSecret(msgspec.Struct, frozen=True):
    """Asks for a new secret; the one before signs, too, for so many hours."""

    ref: EndpointRef
    overlap_hours: Annotated[float, Meta(ge=0, le=MAX_OVERLAP_HOURS)] = 24.0
    secret: Secret | None = None
    idempotency_key: str | None = None


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Every attempt of the schedule failed."""
    HELD = "held"
    """Its endpoint is disabled; it is pending again when that is enabled within 14 days."""
    EXPIRED = "expired"
    """It was held for 14 days."""


class Outcome(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    """Answered with 2xx."""
    REFUSED = "refused"
    """Answered with another status; a redirect is not followed."""
    TIMEOUT = "timeout"
    FORBIDDEN_ADDRESS = "forbidden_address"
    """The name stands for an address that deliveries may not reach, or the URL is not permitted."""
    UNRESOLVED = "unresolved"
    """The name could not be resolved."""
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an endpoint."""

    number: int
    """1 the first; more than the schedule has after redeliveries."""
    started_at: datetime
    duration_ms: float
    outcome: Outcome
    status: int | None
    """Of the response, if there was one."""
    detail: str
    """Why it failed, in a sentence that names no resolved address."""
    response_headers: dict[str, str]
    response_excerpt: str
    """The beginning of the body as text, at most 1,024 characters."""
    url: str
    request_headers: dict[str, str]
    """Without signatures and without what the endpoint's own headers hold."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one endpoint."""

    id: UUID
    endpoint_id: UUID
    webhook_id: str
    """What all attempts carry as `webhook-id`: the event's id, the same for every endpoint and replay."""
    event_type: str
    subject: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_outcome: Outcome | None
    last_status: int | None


class DeliveryDetail(msgspec.Struct, frozen=True):
    """A delivery with what is sent and all attempts, latest first (at most 50)."""

    delivery: Delivery
    payload: msgspec.Raw
    attempts: list[Attempt]


class ListDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a page of an endpoint's deliveries, latest first."""

    ref: EndpointRef
    states: list[DeliveryState] = []
    event_types: list[EventFilter] = []
    since: datetime | None = None
    """Of `created_at`, included; `until` is not."""
    until: datetime | None = None
    limit: int = 50
    cursor: str | None = None


class DeliveryPage(msgspec.Struct, frozen=True):
    """Deliveries, and where to go on."""

    deliveries: list[Delivery]
    next_cursor: str | None = None


class DeliveryRef(msgspec.Struct, frozen=True):
    """Names a delivery of an endpoint."""

    endpoint: EndpointRef
    delivery_id: UUID
    idempotency_key: str | None = None


class SendTest(msgspec.Struct, frozen=True):
    """Asks that a `webhook.test` is delivered to an endpoint, whatever it filters; it need not be enabled."""

    ref: EndpointRef
    idempotency_key: str | None = None


class ReplayKind(StrEnum):
    """Which deliveries are made again."""

    RECOVER = "recover"
    """Those that have failed or are held or expired."""
    REPLAY = "replay"
    """All events of the range that match, those delivered before and those that the endpoint never got."""


class ReplayState(StrEnum):
    """How far a replay is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A job that makes deliveries of a range pending again, under the same `webhook-id`."""

    id: UUID
    endpoint_id: UUID
    kind: ReplayKind
    state: ReplayState
    since: datetime
    until: datetime
    event_types: list[str]
    examined: int
    """Events looked at so far."""
    matched: int
    """Deliveries made pending so far."""
    created_at: datetime
    finished_at: datetime | None
    error: str
    """Why it failed."""


class StartReplay(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a replay of a range of at most 14 days: events are not kept for longer."""

    ref: EndpointRef
    kind: ReplayKind
    since: datetime
    until: datetime
    event_types: list[EventFilter] = []
    """None are those of the endpoint."""
    idempotency_key: str | None = None


class ReplayRef(msgspec.Struct, frozen=True):
    """Names a replay of an endpoint."""

    endpoint: EndpointRef
    replay_id: UUID


class StatsOf(msgspec.Struct, frozen=True):
    """Asks how an endpoint has done in the last hours, at most 30 days."""

    ref: EndpointRef
    hours: Annotated[int, Meta(ge=1, le=720)] = 24


class StatsHour(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in an hour; `success_rate` and times are null when nothing was."""

    hour: datetime
    attempts: int
    delivered: int
    failed: int
    """Attempts that failed, whatever came later."""
    success_rate: float | None
    """Share of attempts that succeeded, 0 to 1."""
    p50_ms: float | None
    """Of attempts that were answered; from counts in steps of a tenth."""
    p95_ms: float | None


class Stats(msgspec.Struct, frozen=True):
    """The sum of the hours, and each that had attempts, oldest first."""

    total: StatsHour
    hours: list[StatsHour]


class Overview(msgspec.Struct, frozen=True):
    """Asks for endpoints of all tenants, those in trouble first; for the operator."""

    limit: int
    only_failing: bool = False
    cursor: str | None = None


class TenantEndpoint(msgspec.Struct, frozen=True):
    """An endpoint and whose it is."""

    tenant_id: UUID
    endpoint: Endpoint


class OverviewPage(msgspec.Struct, frozen=True):
    """The operator's view: how many deliveries wait in all, and endpoints."""

    pending: int
    held: int
    oldest_due_at: datetime | None
    """When the one that has been due longest became so; None when nothing is due."""
    endpoints: list[TenantEndpoint]
    next_cursor: str | None = None


CREATE_ENDPOINT = RpcMethod("webhooks", "create_endpoint", CreateEndpoint, EndpointWithSecret)
GET_ENDPOINT = RpcMethod("webhooks", "get_endpoint", EndpointRef, Endpoint)
LIST_ENDPOINTS = RpcMethod("webhooks", "list_endpoints", ListEndpoints, EndpointPage)
UPDATE_ENDPOINT = RpcMethod("webhooks", "update_endpoint", UpdateEndpoint, Endpoint)
DELETE_ENDPOINT = RpcMethod("webhooks", "delete_endpoint", EndpointRef, Endpoint)
ROTATE_SECRET = RpcMethod("webhooks", "rotate_secret", RotateSecret, EndpointWithSecret)
SEND_TEST = RpcMethod("webhooks", "send_test", SendTest, Delivery)
LIST_DELIVERIES = RpcMethod("webhooks", "list_deliveries", ListDeliveries, DeliveryPage)
GET_DELIVERY = RpcMethod("webhooks", "get_delivery", DeliveryRef, DeliveryDetail)
REDELIVER = RpcMethod("webhooks", "redeliver", DeliveryRef, Delivery)
START_REPLAY = RpcMethod("webhooks", "start_replay", StartReplay, Replay)
GET_REPLAY = RpcMethod("webhooks", "get_replay", ReplayRef, Replay)
ENDPOINT_STATS = RpcMethod("webhooks", "endpoint_stats", StatsOf, Stats)
WEBHOOKS_OVERVIEW = RpcMethod("webhooks", "overview", Overview, OverviewPage)
PURGE_WEBHOOKS = RpcMethod("webhooks", "purge_tenant", PurgeTenant, Purged)
