"""Events: CloudEvents 1.0 in structured JSON. They carry what a subscriber needs, never document text."""

from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from quarry_common.contracts import subjects
from quarry_common.contracts.tenancy import PLATFORM_TENANT, TenantState
from quarry_common.contracts.usage import Quota
from quarry_common.errors import ErrorData
from quarry_common.ids import new_id


class EventData(msgspec.Struct, frozen=True):
    """Base of what an event tells; `type` is `<entity>.<verb>`, `subject_id` names the thing it is about."""

    type: ClassVar[str]

    @property
    def subject_id(self) -> str:
        """The id of the thing that the event is about; events of one thing keep their order."""
        raise AssertionError(f"{type(self).__name__} does not say what it is about")


class DocumentUploaded(EventData, frozen=True):
    """A version of a document is stored durably and will be indexed."""

    type: ClassVar[str] = "document.uploaded"
    document_id: UUID
    job_id: UUID
    collection: str
    external_id: str | None
    version: int
    title: str
    size_bytes: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentIndexed(EventData, frozen=True):
    """A document can be found for the first time."""

    type: ClassVar[str] = "document.indexed"
    document_id: UUID
    job_id: UUID
    collection: str
    external_id: str | None
    version: int
    chunk_count: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentUpdated(EventData, frozen=True):
    """A document says something else: a new version has taken the place of the one before, or what is said
    of it was changed without a job."""

    type: ClassVar[str] = "document.updated"
    document_id: UUID
    job_id: UUID | None
    collection: str
    external_id: str | None
    version: int
    revision: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentIndexingFailed(EventData, frozen=True):
    """A version of a document could not be indexed; what was found before is found still."""

    type: ClassVar[str] = "document.indexing_failed"
    document_id: UUID
    job_id: UUID
    collection: str
    external_id: str | None
    version: int
    error: ErrorData

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class DocumentDeleted(EventData, frozen=True):
    """A document cannot be found any more."""

    type: ClassVar[str] = "document.deleted"
    document_id: UUID
    collection: str
    external_id: str | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.document_id)


class _JobEvent(EventData, frozen=True):
    job_id: UUID
    document_id: UUID
    collection: str
    attempt: int

    @property
    def subject_id(self) -> str:
        return str(self.job_id)


class JobStarted(_JobEvent, frozen=True):
    """A worker has taken the job."""

    type: ClassVar[str] = "job.started"


class JobCompleted(_JobEvent, frozen=True):
    """The job has done its work."""

    type: ClassVar[str] = "job.completed"
    chunk_count: int


class JobFailed(_JobEvent, frozen=True):
    """The job has ended without success."""

    type: ClassVar[str] = "job.failed"
    error: ErrorData


class JobCancelled(_JobEvent, frozen=True):
    """The job was stopped, because its document was deleted or replaced, or because somebody asked."""

    type: ClassVar[str] = "job.cancelled"


class CollectionDeleted(EventData, frozen=True):
    """A collection and everything in it cannot be found any more."""

    type: ClassVar[str] = "collection.deleted"
    collection: str
    documents: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.collection


class CollectionRefreshed(EventData, frozen=True):
    """What searches find follows the documents again: what was deleted has left the index, or the index was
    mended. `collection` is None when it may be any."""

    type: ClassVar[str] = "collection.refreshed"
    collection: str | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.collection or "*"


class CollectionUpdated(EventData, frozen=True):
    """A collection's settings were changed; searches follow the new ones. `settings` names those changed."""

    type: ClassVar[str] = "collection.updated"
    collection: str
    settings: list[str]

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.collection


class _TenantEvent(EventData, frozen=True):
    tenant_id: UUID
    slug: str

    @property
    def subject_id(self) -> str:
        return str(self.tenant_id)


class TenantCreated(_TenantEvent, frozen=True):
    """There is a new tenant."""

    type: ClassVar[str] = "tenant.created"
    name: str


class TenantUpdated(_TenantEvent, frozen=True):
    """A tenant was changed; `changed` names what, such as `plan`, `quotas`, `state` or `domains`."""

    type: ClassVar[str] = "tenant.updated"
    changed: list[str]
    state: TenantState


class TenantDeleted(_TenantEvent, frozen=True):
    """A tenant is disabled, and purged at `purge_at` unless it is restored."""

    type: ClassVar[str] = "tenant.deleted"
    purge_at: datetime


class TenantPurged(_TenantEvent, frozen=True):
    """Nothing is left of a tenant. It is told to the installation: the tenant has no stream any more."""

    type: ClassVar[str] = "tenant.purged"


class _ApiKeyEvent(EventData, frozen=True):
    key_id: UUID
    name: str

    @property
    def subject_id(self) -> str:
        return str(self.key_id)


class ApiKeyCreated(_ApiKeyEvent, frozen=True):
    """There is a new key."""

    type: ClassVar[str] = "api_key.created"
    scopes: list[str]


class ApiKeyRotated(_ApiKeyEvent, frozen=True):
    """A key is replaced by `new_key_id`, and refused from `expires_at` on."""

    type: ClassVar[str] = "api_key.rotated"
    new_key_id: UUID
    expires_at: datetime


class ApiKeyRevoked(_ApiKeyEvent, frozen=True):
    """A key is refused from now on."""

    type: ClassVar[str] = "api_key.revoked"


class ApiKeyAnomalyDetected(_ApiKeyEvent, frozen=True):
    """A key is used as it was not before: `anomaly` is `dormant_key_used` or `denials_spiked`."""

    type: ClassVar[str] = "api_key.anomaly_detected"
    anomaly: str
    detail: str


class SigningKeyRevoked(EventData, frozen=True):
    """Tokens of a signing key are refused: those issued before a moment, or all."""

    type: ClassVar[str] = "signing_key.revoked"
    signing_key_id: UUID
    before: datetime | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.signing_key_id)


class _QuotaEvent(EventData, frozen=True):
    quota: Quota
    limit: int
    used: int

    @property
    def subject_id(self) -> str:
        return self.quota.value


class QuotaThresholdReached(_QuotaEvent, frozen=True):
    """A tenant has used `percent` of a quota. `storage_mb` is counted in bytes."""

    type: ClassVar[str] = "quota.threshold_reached"
    percent: int


class QuotaExceeded(_QuotaEvent, frozen=True):
    """A tenant has used up a quota: what would need more of it is refused."""

    type: ClassVar[str] = "quota.exceeded"


class _WebhookEndpointEvent(EventData, frozen=True):
    endpoint_id: UUID
    url: str

    @property
    def subject_id(self) -> str:
        return str(self.endpoint_id)


class WebhookEndpointFailing(_WebhookEndpointEvent, frozen=True):
    """Nothing was delivered to an endpoint since `failing_since`: it is disabled at `disabled_at` if that
    goes on."""

    type: ClassVar[str] = "webhook.endpoint_failing"
    failing_since: datetime
    disabled_at: datetime


class WebhookEndpointDisabled(_WebhookEndpointEvent, frozen=True):
    """An endpoint gets nothing any more: `reason` is `gone` or `requested` when it said so, or `failing`."""

    type: ClassVar[str] = "webhook.endpoint_disabled"
    reason: str
    failing_since: datetime | None


EVENT_TYPES: dict[str, type[EventData]] = {
    kind.type: kind
    for kind in (
        DocumentUploaded, DocumentIndexed, DocumentUpdated, DocumentIndexingFailed, DocumentDeleted,
        JobStarted, JobCompleted, JobFailed, JobCancelled, CollectionDeleted, CollectionRefreshed,
        CollectionUpdated, TenantCreated, TenantUpdated, TenantDeleted, TenantPurged, ApiKeyCreated,
        ApiKeyRotated, ApiKeyRevoked, ApiKeyAnomalyDetected, SigningKeyRevoked, QuotaThresholdReached,
        QuotaExceeded, WebhookEndpointFailing, WebhookEndpointDisabled,
    )
}  # fmt: skip
"""Every type of event, by its name."""


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The envelope, as CloudEvents 1.0 names its attributes; extension attributes carry tenant and trace."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    tenantid: str
    data: msgspec.Raw
    specversion: str
    datacontenttype: str
    traceparent: str = ""


def envelope(data: EventData, *, source: str, tenant_id: UUID | None, traceparent: str = "") -> CloudEvent:
    """Wrap `data` for sending; `source` is the service that it comes from."""
    return CloudEvent(
        id=str(new_id()),
        source=f"/quarry/{source}",
        type=data.type,
        subject=data.subject_id,
        time=datetime.now(UTC),
        tenantid=str(tenant_id or PLATFORM_TENANT),
        data=msgspec.Raw(msgspec.json.encode(data)),
        specversion="1.0",
        datacontenttype="application/json",
        traceparent=traceparent,
    )


def subject_of(event: CloudEvent) -> str:
    """Return the NATS subject of `event`."""
    return subjects.event(UUID(event.tenantid), event.type)


def decode_data(event: CloudEvent) -> EventData:
    """Return what `event` tells, in its own type. Raises `msgspec.ValidationError` for an unknown one."""
    kind = EVENT_TYPES.get(event.type)
    if kind is None:
        raise msgspec.ValidationError(f"unknown event type {event.type}")
    return msgspec.json.decode(event.data, type=kind)
