"""Writes how attempts ended, with all that follows, in one transaction under the endpoint's lease."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from quarry_common.contracts.events import WebhookEndpointDisabled, WebhookEndpointFailing
from quarry_common.contracts.webhooks import DisabledReason
from quarry_common.messaging import outbox
from quarry_common.postgres.pool import Connection, Database
from quarry_webhooks.delivering.metrics import DISABLED
from quarry_webhooks.domain.circuit import Health
from quarry_webhooks.domain.results import disables
from quarry_webhooks.repository import queues
from quarry_webhooks.repository import results as repository
from quarry_webhooks.repository.due import Endpoint
from quarry_webhooks.repository.queues import Claim
from quarry_webhooks.repository.results import Result

SERVICE = "webhooks"


class Recorded(msgspec.Struct, frozen=True):
    """What was written."""

    due_at: datetime | None
    """When the endpoint is due next."""
    disabled: bool = False


async def record(
    database: Database,
    claim: Claim,
    endpoint: Endpoint,
    results: Sequence[Result],
    health: Health,
    now: datetime,
    disable_after: timedelta,
    *,
    give_back: bool,
) -> Recorded | None:
    """Write results and how the endpoint does; return None, with nothing written, when the lease is lost.

    `health` is what it is after all `results`. An endpoint that asked to be left alone, or to which nothing
    was delivered for `disable_after`, is disabled; its owner is told, and before that warned.
    """
    reason = _reason(endpoint, results, health, now, disable_after)
    async with database.tenant_transaction(claim.tenant_id) as connection:
        if not await queues.fence(connection, claim, disabling=reason is not None):
            return None
        if results:
            await repository.write(connection, results)
            await repository.count(
                connection, claim.tenant_id, claim.endpoint_id, [result.attempt for result in results]
            )
        if reason is not None:
            await _disable(connection, claim, reason, health, now)
        elif endpoint.enabled and results and health.to_be_warned(now, disable_after):
            health = msgspec.structs.replace(health, warned_at=now)
            await _warn(connection, claim, endpoint, health, disable_after)
        due_at = await queues.store(connection, claim, health, now, give_back=give_back)
    return Recorded(due_at, reason is not None)


def _reason(
    endpoint: Endpoint, results: Sequence[Result], health: Health, now: datetime, disable_after: timedelta
) -> DisabledReason | None:
    if not endpoint.enabled or not results:
        return None
    for result in results:
        asked = disables(result.attempt.status, result.attempt.response_headers)
        if asked is not None:
            return asked
    return DisabledReason.FAILING if health.given_up(now, disable_after) else None


async def _disable(
    connection: Connection, claim: Claim, reason: DisabledReason, health: Health, now: datetime
) -> None:
    url = await repository.disable(connection, claim.endpoint_id, reason, now)
    if url is None:
        return
    DISABLED.labels(reason.value).inc()
    event = WebhookEndpointDisabled(
        endpoint_id=claim.endpoint_id, url=url, reason=reason, failing_since=health.failing_since
    )
    await outbox.publish_event(connection, event, service=SERVICE, tenant_id=claim.tenant_id)


async def _warn(
    connection: Connection, claim: Claim, endpoint: Endpoint, health: Health, disable_after: timedelta
) -> None:
    assert health.failing_since is not None  # noqa: S101 - only who fails is warned
    event = WebhookEndpointFailing(
        endpoint_id=claim.endpoint_id,
        url=endpoint.url,
        failing_since=health.failing_since,
        disabled_at=health.failing_since + disable_after,
    )
    await outbox.publish_event(connection, event, service=SERVICE, tenant_id=claim.tenant_id)
