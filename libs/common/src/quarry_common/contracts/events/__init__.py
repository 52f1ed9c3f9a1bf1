"""Events: CloudEvents 1.0 in structured JSON. They carry what a subscriber needs, never document text.

A type's name, what it looks like and how it is delivered stand beside its class; docs/events.md tells
subscribers of them. What is sent is pinned: `libs/common/tests/golden/events`.
"""

from quarry_common.contracts.events.base import EventData, Way, schema_id
from quarry_common.contracts.events.catalogue import EventType, catalogue, message_of, schema_of
from quarry_common.contracts.events.collections import (
    CollectionDeleted,
    CollectionRefreshed,
    CollectionUpdated,
)
from quarry_common.contracts.events.documents import (
    DocumentDeleted,
    DocumentIndexed,
    DocumentIndexingFailed,
    DocumentUpdated,
    DocumentUploaded,
)
from quarry_common.contracts.events.envelope import CloudEvent, decode_data, envelope, subject_of
from quarry_common.contracts.events.health import HealthCheckFailed, HealthRecovered
from quarry_common.contracts.events.jobs import (
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobProgressed,
    JobStarted,
)
from quarry_common.contracts.events.keys import (
    ApiKeyAnomalyDetected,
    ApiKeyCreated,
    ApiKeyRevoked,
    ApiKeyRotated,
    SigningKeyRevoked,
)
from quarry_common.contracts.events.quotas import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.events.searches import Interacted, Searched, SearchesUnrecorded
from quarry_common.contracts.events.tenants import TenantCreated, TenantDeleted, TenantPurged, TenantUpdated
from quarry_common.contracts.events.types import EVENT_TYPES, EXAMPLES, WEBHOOK_TYPES
from quarry_common.contracts.events.webhooks import (
    WebhookEndpointDisabled,
    WebhookEndpointFailing,
    WebhookTest,
    shown_url,
)

__all__ = [
    "EVENT_TYPES",
    "EXAMPLES",
    "WEBHOOK_TYPES",
    "ApiKeyAnomalyDetected",
    "ApiKeyCreated",
    "ApiKeyRevoked",
    "ApiKeyRotated",
    "CloudEvent",
    "CollectionDeleted",
    "CollectionRefreshed",
    "CollectionUpdated",
    "DocumentDeleted",
    "DocumentIndexed",
    "DocumentIndexingFailed",
    "DocumentUpdated",
    "DocumentUploaded",
    "EventData",
    "EventType",
    "HealthCheckFailed",
    "HealthRecovered",
    "Interacted",
    "JobCancelled",
    "JobCompleted",
    "JobFailed",
    "JobProgressed",
    "JobStarted",
    "QuotaExceeded",
    "QuotaThresholdReached",
    "Searched",
    "SearchesUnrecorded",
    "SigningKeyRevoked",
    "TenantCreated",
    "TenantDeleted",
    "TenantPurged",
    "TenantUpdated",
    "Way",
    "WebhookEndpointDisabled",
    "WebhookEndpointFailing",
    "WebhookTest",
    "catalogue",
    "decode_data",
    "envelope",
    "message_of",
    "schema_id",
    "schema_of",
    "shown_url",
    "subject_of",
]
