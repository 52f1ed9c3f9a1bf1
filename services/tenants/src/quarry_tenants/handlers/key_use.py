"""How keys are used: told by gateways, looked through for anomalies, read."""

from datetime import UTC, datetime, timedelta

from quarry_common.contracts.api_keys import KeyRef, KeyUsage, ReportKeyUse
from quarry_common.contracts.audit import Actor, AuditAct
from quarry_common.contracts.events import ApiKeyAnomalyDetected
from quarry_common.contracts.rpc import Nothing
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.errors import NotFoundError
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import anomalies
from quarry_tenants.domain import key_use as rules
from quarry_tenants.handlers import SERVICE
from quarry_tenants.repository import audit, keys, receipts
from quarry_tenants.repository import key_use as repository
from quarry_tenants.repository.key_use import CountedUse


class KeyUse:
    """Answers on one database. A key that was not used for `dormant` is told of when it is."""

    def __init__(self, database: Database, dormant: timedelta) -> None:
        self._database = database
        self._dormant = dormant

    async def report(self, request: ReportKeyUse) -> Nothing:
        """Take in how keys of many tenants were used. A report that comes again within two hours counts once.

        What is told of keys that are not there, or of tenants that are being purged, is dropped. Raises
        `ValidationError`.
        """
        now = datetime.now(UTC)
        rules.check_report(request, now)
        async with self._database.tenant_transaction(PLATFORM_TENANT) as connection:
            if not await receipts.add(connection, PLATFORM_TENANT, request.report_id):
                return Nothing()
            for counted in await repository.count(connection, rules.merged(request.tallies, now)):
                await self._look_through(connection, counted)
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

    async def _look_through(self, connection: Connection, counted: CountedUse) -> None:
        """Note what is unusual about a use for its day, once; tell of it, and write it down."""
        found = []
        if anomalies.DORMANT_KEY_USED not in counted.anomalies:
            detail = anomalies.dormant_key_used(
                counted.created_at, counted.last_used_at, counted.use.last_used_at, self._dormant
            )
            found.append((anomalies.DORMANT_KEY_USED, detail))
        if counted.denied >= anomalies.SPIKE_DENIALS and anomalies.DENIALS_SPIKED not in counted.anomalies:
            await self._database.become(connection, counted.use.tenant_id)
            usual = await repository.denied_before(connection, counted.use, anomalies.SPIKE_DAYS)
            found.append(
                (anomalies.DENIALS_SPIKED, anomalies.denials_spiked(counted.use.day, counted.denied, usual))
            )
        for kind, detail in found:
            if detail:
                await self._database.become(connection, counted.use.tenant_id)
                await _tell(connection, counted, kind, detail)


async def _tell(connection: Connection, counted: CountedUse, kind: str, detail: str) -> None:
    use = counted.use
    await repository.note_anomaly(connection, use, kind)
    event = ApiKeyAnomalyDetected(key_id=use.key_id, name=counted.name, anomaly=kind, detail=detail)
    await publish_event(connection, event, service=SERVICE, tenant_id=use.tenant_id)
    act = AuditAct(
        use.tenant_id,
        Actor(),
        event.type,
        str(use.key_id),
        after={"anomaly": kind, "detail": detail},
    )
    await audit.append(connection, use.tenant_id, [act])
