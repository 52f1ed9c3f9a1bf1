"""Endpoints: made, read, changed, deleted, given another secret."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common import cursors
from quarry_common.contracts.audit import Actor, Owners, OwnersOf
from quarry_common.contracts.webhooks import (
    CreateEndpoint,
    DisabledReason,
    Endpoint,
    EndpointPage,
    EndpointRef,
    EndpointWithSecret,
    ListEndpoints,
    NewEndpoint,
    RotateSecret,
    UpdateEndpoint,
)
from quarry_common.errors import NotFoundError, QuotaExceededError, UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_webhooks import signing
from quarry_webhooks.domain import endpoints as rules
from quarry_webhooks.domain import quotas
from quarry_webhooks.domain.endpoints import Stored, UrlRules
from quarry_webhooks.handlers import SERVICE, bounded
from quarry_webhooks.repository import endpoints as repository
from quarry_webhooks.repository import holding, queues
from quarry_webhooks.sealing import Sealer

_LIST = "webhooks"
"""The list, as its cursors name it."""
CLEARED_AT_ONCE = 2_000
CLEAR_SECONDS = 20.0
"""For the log of an endpoint that is deleted; the gateway waits a little longer."""


class Endpoints:
    """Answers on one database."""

    def __init__(self, database: Database, sealer: Sealer, url_rules: UrlRules) -> None:
        self._database = database
        self._sealer = sealer
        self._url_rules = url_rules

    async def create(self, request: CreateEndpoint) -> EndpointWithSecret:
        """Make an endpoint and return it with its secret, which is not told again but for a repetition.

        Raises `ValidationError`, and `QuotaExceededError` when the tenant may have no more.
        """
        new = request.endpoint
        rules.check_new(new, self._url_rules)

        async def make(connection: Connection) -> EndpointWithSecret:
            used = await repository.count(connection, request.tenant_id)
            quotas.require_room(used, request.limit)
            secret = new.secret or signing.generate_secret()
            stored = self._stored(request.tenant_id, new, secret)
            await repository.add(connection, stored)
            await _tell_quota(connection, request.tenant_id, used + 1, request.limit)
            return EndpointWithSecret(await found(connection, request.tenant_id, stored.id), secret)

        # Without the limit: it may be another when the request comes again.
        asked = fingerprint("create_endpoint", request.tenant_id, new)
        try:
            made, _ = await once(
                self._database, request.tenant_id, request.idempotency_key, asked, EndpointWithSecret, make
            )
        except QuotaExceededError:
            async with self._database.tenant_transaction(request.tenant_id) as connection:
                used = await repository.count(connection, request.tenant_id)
                await _tell_quota(connection, request.tenant_id, used, request.limit, refused=True)
            raise
        return made

    async def get(self, request: EndpointRef) -> Endpoint:
        """Return an endpoint. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            return await found(connection, request.tenant_id, request.endpoint_id)

    async def list(self, request: ListEndpoints) -> EndpointPage:
        """Return a page of a tenant's endpoints, oldest first."""
        limit = bounded(request.limit)
        after = cursors.decode_id(_LIST, request.cursor) or UUID(int=0)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            page = await repository.page(connection, request.tenant_id, after, limit + 1)
        more = cursors.encode(_LIST, str(page[limit - 1].id)) if len(page) > limit else None
        return EndpointPage(page[:limit], more)

    async def update(self, request: UpdateEndpoint) -> Endpoint:
        """Change an endpoint and return it; what changes nothing leaves its revision.

        Raises `NotFoundError`, `ValidationError`, `PreconditionFailedError`.
        """
        rules.check_changes(request.changes, self._url_rules)
        ref, changes, now = request.ref, request.changes, datetime.now(UTC)
        sealed = None
        if changes.headers is not msgspec.UNSET:
            sealed = self._sealer.close(ref.tenant_id, ref.endpoint_id, msgspec.json.encode(changes.headers))
        async with self._database.tenant_transaction(ref.tenant_id) as connection:
            before = await locked(connection, ref)
            after = rules.changed(before, changes, sealed, now)
            if after != before:
                await repository.change(connection, after)
                await _follow(connection, before, after, now)
            return await found(connection, ref.tenant_id, ref.endpoint_id)

    async def rotate(self, request: RotateSecret) -> EndpointWithSecret:
        """Give an endpoint a new secret and return it with that.

        Raises `NotFoundError`, `ValidationError`, `PreconditionFailedError`.
        """
        rules.check_rotation(request.secret, request.overlap_hours)
        ref = request.ref

        async def change(connection: Connection) -> EndpointWithSecret:
            before = await locked(connection, ref)
            secret = request.secret or signing.generate_secret()
            sealed = self._sealer.close(ref.tenant_id, ref.endpoint_id, secret.encode())
            now = datetime.now(UTC)
            await repository.change(connection, rules.rotated(before, sealed, request.overlap_hours, now))
            return EndpointWithSecret(await found(connection, ref.tenant_id, ref.endpoint_id), secret)

        asked = fingerprint(
            "rotate_secret", msgspec.structs.replace(request, idempotency_key=None, ref=anonymous(ref))
        )
        rotated, _ = await once(
            self._database, ref.tenant_id, request.idempotency_key, asked, EndpointWithSecret, change
        )
        return rotated

    async def delete(self, request: EndpointRef) -> Endpoint:
        """Delete an endpoint with its log and return it as it was.

        It gets nothing from the beginning on. A long log takes several transactions: when time is over before
        it is gone, raises `UnavailableError`, and a repetition goes on. Raises `NotFoundError`,
        `PreconditionFailedError`.
        """
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            await locked(connection, request)
            before = await found(connection, request.tenant_id, request.endpoint_id)
            await repository.switch_off(connection, request.endpoint_id, datetime.now(UTC))
        await self._clear(request)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            used = await repository.count(connection, request.tenant_id)
            await locked(connection, request)
            await repository.remove(connection, request.tenant_id, request.endpoint_id)
            told = await repository.told(connection, request.tenant_id)
            if told is not None:
                await repository.set_told(connection, request.tenant_id, quotas.fallen(told, used - 1))
        return before

    async def _clear(self, request: EndpointRef) -> None:
        now = asyncio.get_running_loop().time
        until = now() + CLEAR_SECONDS
        while now() < until:
            async with self._database.tenant_transaction(request.tenant_id) as connection:
                if await repository.clear(connection, request.endpoint_id, CLEARED_AT_ONCE) < CLEARED_AT_ONCE:
                    return
        raise UnavailableError(
            "The endpoint gets nothing any more, and its log is being removed.",
            advice="Delete it again; what is left of the log goes then.",
            retry_after_seconds=1,
        )

    async def owners(self, request: OwnersOf) -> Owners:
        """Return whose endpoints, deliveries and replays are: for the audit of attempts on foreign ids."""
        async with self._database.worker_transaction() as worker:
            return Owners(await repository.owners(worker, request.ids))

    def _stored(self, tenant_id: UUID, new: NewEndpoint, secret: str) -> Stored:
        endpoint_id = new_id()
        return Stored(
            id=endpoint_id,
            tenant_id=tenant_id,
            url=new.url,
            description=new.description,
            event_types=list(new.event_types),
            header_names=list(new.headers),
            headers=self._sealer.close(tenant_id, endpoint_id, msgspec.json.encode(new.headers)),
            secret=self._sealer.close(tenant_id, endpoint_id, secret.encode()),
            enabled=new.enabled,
            disabled_reason=None if new.enabled else DisabledReason.OWNER,
            disabled_at=None if new.enabled else datetime.now(UTC),
            ordered=new.ordered,
            requests_per_second=new.requests_per_second,
        )


async def found(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    """Return what is told of an endpoint. Raises `NotFoundError`."""
    endpoint = await repository.find(connection, tenant_id, endpoint_id)
    if endpoint is None:
        raise missing()
    return endpoint


async def require(connection: Connection, ref: EndpointRef) -> None:
    """Raise `NotFoundError` unless the tenant has the endpoint."""
    if not await repository.exists(connection, ref.tenant_id, ref.endpoint_id):
        raise missing()


async def locked(connection: Connection, ref: EndpointRef) -> Stored:
    """Return an endpoint that nobody else changes until the transaction ends.

    Raises `NotFoundError`, and `PreconditionFailedError` when it is not at the revision that is named.
    """
    stored = await repository.lock(connection, ref.tenant_id, ref.endpoint_id)
    if stored is None:
        raise missing()
    rules.require(ref.revision, stored.revision)
    return stored


def missing() -> NotFoundError:
    """Return the error that there is no such endpoint."""
    return NotFoundError("There is no such webhook endpoint.")


def anonymous(ref: EndpointRef) -> EndpointRef:
    """Return `ref` without who asks, which two requests under one idempotency key may differ in."""
    return msgspec.structs.replace(ref, actor=Actor())


async def _follow(connection: Connection, before: Stored, after: Stored, now: datetime) -> None:
    """Let deliveries and queue follow a change of their endpoint."""
    enabled = after.enabled and not before.enabled
    if enabled or after.url != before.url:
        await repository.begin_anew(connection, after.id)
    if enabled:
        await holding.release(connection, after.id, now)
    if before.enabled and not after.enabled:
        await holding.hold(connection, after.id, now)
    await queues.wake(connection, after.id)


async def _tell_quota(
    connection: Connection, tenant_id: UUID, used: int, limit: int | None, *, refused: bool = False
) -> None:
    before = await repository.told(connection, tenant_id)
    after, events = quotas.tell(before, used, limit, refused=refused)
    if after != before:
        await repository.set_told(connection, tenant_id, after)
    await publish(connection, [Message(event) for event in events], service=SERVICE, tenant_id=tenant_id)
