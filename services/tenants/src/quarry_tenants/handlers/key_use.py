"""How keys are used: told by gateways, looked through for anomalies, read."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import KeyRef, KeyUsage, ReportKeyUse
from quarry_common.contracts.audit import Actor, AuditAct
from quarry_common.contracts.events import ApiKeyAnomalyDetected
from quarry_common.contracts.rpc import Nothing
from quarry_common.errors import NotFoundError
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import anomalies
from quarry_tenants.domain import key_use as rules
from quarry_tenants.domain.key_use import Use
from quarry_tenants.handlers import SERVICE
from quarry_tenants.repository import audit, keys, receipts, tenants
from quarry_tenants.repository import key_use as repository
from quarry_tenants.repository.key_use import CountedDay, UsedKey


class _Anomaly(msgspec.Struct, frozen=True):
    key: UsedKey
    day: date
    kind: str
    detail: str


class KeyUse:
    """Answers on one database. A key that was not used for `dormant` is told of when it is."""

    def __init__(self, database: Database, dormant: timedelta) -> None:
        self._database = database
        self._dormant = dormant

    async def report(self, request: ReportKeyUse) -> Nothing:
        """Take in how keys were used. A report that comes again within two hours counts once.

        Each tenant's part is one transaction; when one fails, others may be taken in already. What is told of
        keys that are not there, or of tenants that are being purged, is dropped. Raises `ValidationError`.
        """
        now = datetime.now(UTC)
        rules.check_report(request, now)
        for tenant_id, use in rules.by_tenant(request.tallies, now).items():
            async with self._database.tenant_transaction(tenant_id) as connection:
                if await tenants.hold(connection, tenant_id) and await receipts.add(
                    connection, tenant_id, request.report_id
                ):
                    await self._take_in(connection, tenant_id, use)
        return Nothing()

    async def usage(self, request: KeyRef) -> KeyUsage:
        """Return how a key was used in the last ninety days. Raises `NotFoundError`."""
        first = datetime.now(UTC).date() - timedelta(days=rules.SHOWN_DAYS - 1)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            key = await keys.find(connection, request.tenant_id, request.key_id)
            if key is None:
                raise NotFoundError("There is no such key.")
            days = await repository.days(connection, request.tenant_id, request.key_id, first)
        return KeyUsage(key.id, key.last_used_at, days)

    async def _take_in(self, connection: Connection, tenant_id: UUID, use: Use) -> None:
        before = await repository.lock_keys(connection, tenant_id, list(use.last_used_at))
        last_used_at = {key_id: at for key_id, at in use.last_used_at.items() if key_id in before}
        counted = await repository.add(
            connection, tenant_id, [day for day in use.days if day.key_id in before]
        )
        await repository.used(connection, tenant_id, last_used_at)
        found = list(self._woken(before, last_used_at, counted))
        found += await _spikes(connection, tenant_id, before, counted)
        await _tell(connection, tenant_id, found)

    def _woken(
        self, before: dict[UUID, UsedKey], used_at: dict[UUID, datetime], counted: Sequence[CountedDay]
    ) -> Iterator[_Anomaly]:
        latest = {day.key_id: day for day in sorted(counted, key=lambda day: day.day)}
        for key_id, day in latest.items():
            key = before[key_id]
            detail = anomalies.dormant_key_used(
                key.created_at, key.last_used_at, used_at[key_id], self._dormant
            )
            if detail and anomalies.DORMANT_KEY_USED not in day.anomalies:
                yield _Anomaly(key, day.day, anomalies.DORMANT_KEY_USED, detail)


async def _spikes(
    connection: Connection, tenant_id: UUID, keys_before: dict[UUID, UsedKey], counted: Sequence[CountedDay]
) -> list[_Anomaly]:
    found = []
    for day in counted:
        if day.denied < anomalies.SPIKE_DENIALS or anomalies.DENIALS_SPIKED in day.anomalies:
            continue
        usual = await repository.denied_before(
            connection, tenant_id, day.key_id, day.day, anomalies.SPIKE_DAYS
        )
        if detail := anomalies.denials_spiked(day.day, day.denied, usual):
            found.append(_Anomaly(keys_before[day.key_id], day.day, anomalies.DENIALS_SPIKED, detail))
    return found


async def _tell(connection: Connection, tenant_id: UUID, found: Sequence[_Anomaly]) -> None:
    """Note each for its day, tell of it, and write it down."""
    for each in found:
        await repository.note_anomaly(connection, tenant_id, each.key.id, each.day, each.kind)
    events = [
        ApiKeyAnomalyDetected(key_id=each.key.id, name=each.key.name, anomaly=each.kind, detail=each.detail)
        for each in found
    ]
    await publish(connection, [Message(event) for event in events], service=SERVICE, tenant_id=tenant_id)
    acts = [
        AuditAct(
            tenant_id,
            Actor(),
            event.type,
            str(event.key_id),
            after={"anomaly": event.anomaly, "detail": event.detail},
        )
        for event in events
    ]
    await audit.append(connection, tenant_id, acts)
