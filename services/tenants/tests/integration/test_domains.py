"""Custom domains over the bus, with a DNS server of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest

from quarry_common.contracts.audit import LIST_AUDIT, Actor, ActorKind, ListAudit
from quarry_common.contracts.domains import (
    CHECK_DOMAIN,
    LIST_DOMAINS,
    REGISTER_DOMAIN,
    REMOVE_DOMAIN,
    RESOLVE_HOST,
    Domain,
    DomainRef,
    DomainsOf,
    DomainState,
    HostTenant,
    ResolveHost,
)
from quarry_common.contracts.tenancy import UPDATE_TENANT, Tenant, UpdateTenant
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres.pool import Database, connect_pool
from quarry_tenants.domain.domains import TAKEN, Lookup, Outcome
from quarry_tenants.domain_checks import AT_ONCE, DomainChecks
from quarry_tenants.settings import TenantsSettings
from quarry_tenants.txt_records import DnsResolver

from .conftest import Tenancy
from .dns_server import DnsServer

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ADA = Actor(ActorKind.KEY, new_id(), "192.0.2.7", "request-1")


class FakeResolver:
    """Knows no name, or answers nothing; counts who is asked for at a time."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.asked: list[str] = []

    async def look_up(self, name: str) -> Lookup:
        self.asked.append(name)
        await asyncio.sleep(0)
        return Lookup(self.outcome)


class Desk:
    """What a tenant's administrator does with domains, and what becomes of them."""

    def __init__(self, rpc: RpcClient, names: DnsServer) -> None:
        self.rpc = rpc
        self.names = names

    async def claim(self, tenant_id: UUID, name: str, key: str | None = None) -> Domain:
        return await self.rpc.call(REGISTER_DOMAIN, DomainRef(tenant_id, name, key, ADA))

    async def check(self, tenant_id: UUID, name: str, key: str | None = None) -> Domain:
        return await self.rpc.call(CHECK_DOMAIN, DomainRef(tenant_id, name, key, ADA))

    async def prove(self, tenant_id: UUID, name: str) -> Domain:
        """Claim a name, put the record into the DNS and have it looked at."""
        claim = await self.claim(tenant_id, name)
        self.names.set(claim.record_name, [claim.record_value])
        return await self.check(tenant_id, name)

    async def one(self, tenant_id: UUID) -> Domain:
        (found,) = (await self.rpc.call(LIST_DOMAINS, DomainsOf(tenant_id))).domains
        return found

    async def owner(self, host: str) -> HostTenant | None:
        try:
            return await self.rpc.call(RESOLVE_HOST, ResolveHost(host))
        except RemoteError as error:
            if error.data.code != "not_found":
                raise
            return None

    async def acts(self, tenant_id: UUID) -> list[tuple[str, str, ActorKind]]:
        page = await self.rpc.call(LIST_AUDIT, ListAudit(tenant_id, action="domain"))
        return [(entry.action, entry.target, entry.actor.kind) for entry in reversed(page.entries)]


@pytest.fixture
def desk(rpc: RpcClient, names: DnsServer) -> Desk:
    return Desk(rpc, names)


@pytest.fixture
async def database(settings: TenantsSettings) -> AsyncIterator[Database]:
    async with connect_pool(settings, "tenants") as opened:
        yield opened


@pytest.fixture
async def checks(database: Database, desk: Desk) -> DomainChecks:
    return DomainChecks(database, DnsResolver([("127.0.0.1", desk.names.port)], look_up_seconds=2))


async def told(admin: Admin, tenant_id: UUID) -> int:
    """Return how often gateways were told that a tenant's domains have changed."""
    bodies = await admin.fetch(
        "SELECT convert_from(body, 'UTF8') AS body FROM outbox WHERE tenant_id = $1", tenant_id
    )
    return sum('"changed":["domains"]' in row["body"] for row in bodies)


async def age(admin: Admin, tenant_id: UUID, checked_hours: int, missing_hours: int | None = None) -> None:
    """Let the last look at a tenant's domains be so long ago."""
    await admin.execute(
        """
        UPDATE domains SET checked_at = now() - make_interval(hours => $2),
            missing_since = now() - make_interval(hours => $3) WHERE tenant_id = $1
        """,
        tenant_id,
        checked_hours,
        missing_hours,
    )


async def test_a_claim_is_answered_with_the_record_that_proves_it(desk: Desk, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    claim = await desk.claim(tenant.id, "Search.Acme.example")

    assert claim.name == "search.acme.example"
    assert claim.state is DomainState.PENDING
    assert claim.record_name == "_quarry-challenge.search.acme.example"
    assert claim.record_value.startswith("quarry-domain-verification=")
    assert await desk.owner("search.acme.example") is None


async def test_a_claim_that_is_made_again_stays_as_it_is(desk: Desk, tenancy: Tenancy, admin: Admin) -> None:
    tenant = await tenancy.tenant()

    first = await desk.claim(tenant.id, "again.example")
    second = await desk.claim(tenant.id, "AGAIN.example.")

    assert first == second
    assert await desk.acts(tenant.id) == [("domain.registered", "again.example", ActorKind.KEY)]
    assert await told(admin, tenant.id) == 1


async def test_two_tenants_claim_one_name_with_different_records(desk: Desk, tenancy: Tenancy) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()

    first = await desk.claim(mine.id, "both.example")
    second = await desk.claim(theirs.id, "both.example")

    assert first.record_value != second.record_value


async def test_the_right_record_lets_a_host_stand_for_its_tenant(
    desk: Desk, tenancy: Tenancy, admin: Admin
) -> None:
    tenant = await tenancy.tenant()

    proven = await desk.prove(tenant.id, "proven.example")

    assert (proven.state, proven.problem) == (DomainState.VERIFIED, "")
    assert proven.verified_at is not None
    owner = await desk.owner("Proven.example:8443")
    assert owner == HostTenant(tenant.id, tenant.slug)
    assert await desk.acts(tenant.id) == [
        ("domain.registered", "proven.example", ActorKind.KEY),
        ("domain.verified", "proven.example", ActorKind.KEY),
    ]
    assert await told(admin, tenant.id) == 2


async def test_looking_again_without_a_change_tells_nothing(
    desk: Desk, tenancy: Tenancy, admin: Admin
) -> None:
    tenant = await tenancy.tenant()
    await desk.prove(tenant.id, "steady.example")

    again = await desk.check(tenant.id, "steady.example")

    assert again.state is DomainState.VERIFIED
    assert len(await desk.acts(tenant.id)) == await told(admin, tenant.id) == 2


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (None, "There is no name _quarry-challenge.wrong.example"),
        ([], "has no TXT record"),
        ([["quarry-domain-verification=guess"]], "holds something else: quarry-domain-verification=guess"),
    ],
)
async def test_without_the_right_record_a_claim_waits_and_says_what_was_found(
    desk: Desk, tenancy: Tenancy, records: list[list[str]] | None, problem: str
) -> None:
    tenant = await tenancy.tenant()
    claim = await desk.claim(tenant.id, "wrong.example")
    desk.names.forget(claim.record_name)
    if records is not None:
        desk.names.set(claim.record_name, *records)

    found = await desk.check(tenant.id, "wrong.example")

    assert found.state is DomainState.PENDING
    assert problem in found.problem
    assert found.checked_at is not None


async def test_another_tenants_record_proves_nothing(desk: Desk, tenancy: Tenancy) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()
    await desk.claim(mine.id, "mixed.example")
    claim = await desk.claim(theirs.id, "mixed.example")
    desk.names.set(claim.record_name, [claim.record_value])

    assert (await desk.check(mine.id, "mixed.example")).state is DomainState.PENDING


async def test_a_name_is_verified_for_one_tenant_and_nobody_is_told_for_which(
    desk: Desk, tenancy: Tenancy
) -> None:
    first, second = await tenancy.tenant(), await tenancy.tenant()
    await desk.prove(first.id, "one.example")

    with pytest.raises(RemoteError) as caught:
        await desk.prove(second.id, "one.example")

    assert caught.value.data.code == "conflict"
    assert first.slug not in str(caught.value.data)
    assert str(first.id) not in str(caught.value.data)
    owner = await desk.owner("one.example")
    assert owner is not None
    assert owner.tenant_id == first.id


async def test_of_two_that_are_checked_at_once_one_is_verified(desk: Desk, tenancy: Tenancy) -> None:
    tenants = [await tenancy.tenant() for _ in range(4)]
    claims = [await desk.claim(tenant.id, "race.example") for tenant in tenants]
    desk.names.set(claims[0].record_name, *([claim.record_value] for claim in claims))

    answers = await asyncio.gather(
        *(desk.check(tenant.id, "race.example") for tenant in tenants), return_exceptions=True
    )

    verified = [answer for answer in answers if isinstance(answer, Domain)]
    assert [domain.state for domain in verified] == [DomainState.VERIFIED]
    assert {answer.data.code for answer in answers if isinstance(answer, RemoteError)} == {"conflict"}


async def test_a_name_that_was_given_up_is_free_for_another(
    desk: Desk, tenancy: Tenancy, admin: Admin
) -> None:
    first, second = await tenancy.tenant(), await tenancy.tenant()
    await desk.prove(first.id, "moved.example")

    removed = await desk.rpc.call(REMOVE_DOMAIN, DomainRef(first.id, "Moved.example", actor=ADA))

    assert removed.name == "moved.example"
    assert await desk.owner("moved.example") is None
    assert (await desk.acts(first.id))[-1] == ("domain.removed", "moved.example", ActorKind.KEY)
    assert await told(admin, first.id) == 3
    assert (await desk.prove(second.id, "moved.example")).state is DomainState.VERIFIED


async def test_anothers_domain_is_no_different_from_a_missing_one(desk: Desk, tenancy: Tenancy) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()
    await desk.prove(theirs.id, "theirs.example")

    for method in (CHECK_DOMAIN, REMOVE_DOMAIN):
        with pytest.raises(RemoteError) as caught:
            await desk.rpc.call(method, DomainRef(mine.id, "theirs.example"))
        assert caught.value.data.code == "not_found"
    assert (await desk.rpc.call(LIST_DOMAINS, DomainsOf(mine.id))).domains == []
    assert await desk.owner("theirs.example") is not None


async def test_a_disabled_tenants_host_stands_for_nobody(desk: Desk, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    await desk.prove(tenant.id, "disabled.example")

    await desk.rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, disabled=True))

    assert await desk.owner("disabled.example") is None
    with pytest.raises(RemoteError, match="is disabled") as caught:
        await desk.claim(tenant.id, "another.example")
    assert caught.value.data.status == 403


async def test_a_tenant_has_no_more_domains_than_its_limit_however_they_are_asked_for(
    desk: Desk, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()

    answers = await asyncio.gather(
        *(desk.claim(tenant.id, f"d{n}.example") for n in range(25)), return_exceptions=True
    )

    assert sum(isinstance(answer, Domain) for answer in answers) == 20
    assert {answer.data.code for answer in answers if isinstance(answer, RemoteError)} == {"conflict"}


@pytest.mark.parametrize("name", ["search.quarry.example", "192.0.2.1", "localhost", "a\0b.example"])
async def test_what_is_no_tenants_to_claim_is_refused(desk: Desk, tenancy: Tenancy, name: str) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError) as caught:
        await desk.claim(tenant.id, name)

    assert caught.value.data.code == "validation_failed"


async def test_a_repeated_request_gets_the_first_answer(desk: Desk, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    claim = await desk.claim(tenant.id, "repeated.example", "key")
    waiting = await desk.check(tenant.id, "repeated.example", "look")
    desk.names.set(claim.record_name, [claim.record_value])

    assert await desk.check(tenant.id, "repeated.example", "look") == waiting
    assert (await desk.check(tenant.id, "repeated.example", "new look")).state is DomainState.VERIFIED
    assert await desk.claim(tenant.id, "repeated.example", "key") == claim
    with pytest.raises(RemoteError) as caught:
        await desk.claim(tenant.id, "other.example", "key")
    assert caught.value.data.code == "idempotency_key_reused"


async def lapsed(desk: Desk, tenancy: Tenancy, admin: Admin, checks: DomainChecks, name: str) -> Tenant:
    """Return a tenant whose verified name has lost its record for good."""
    tenant = await tenancy.tenant()
    proven = await desk.prove(tenant.id, name)
    desk.names.forget(proven.record_name)
    await age(admin, tenant.id, checked_hours=25, missing_hours=73)
    assert await checks.check_due(datetime.now(UTC)) >= 1
    return tenant


async def test_a_name_without_its_record_lapses_and_gateways_are_told(
    desk: Desk, tenancy: Tenancy, admin: Admin, checks: DomainChecks
) -> None:
    tenant = await lapsed(desk, tenancy, admin, checks, "lapsed.example")

    assert (await desk.one(tenant.id)).state is DomainState.LAPSED
    assert await desk.owner("lapsed.example") is None
    assert (await desk.acts(tenant.id))[-1] == ("domain.lapsed", "lapsed.example", ActorKind.SYSTEM)
    assert await told(admin, tenant.id) == 3


async def test_a_name_that_is_missed_for_the_first_time_stays_and_says_so(
    desk: Desk, tenancy: Tenancy, admin: Admin, checks: DomainChecks
) -> None:
    tenant = await tenancy.tenant()
    proven = await desk.prove(tenant.id, "missed.example")
    desk.names.forget(proven.record_name)
    await age(admin, tenant.id, checked_hours=25)

    await checks.check_due(datetime.now(UTC))

    found = await desk.one(tenant.id)
    assert found.state is DomainState.VERIFIED
    assert "There is no name" in found.problem
    assert await desk.owner("missed.example") is not None


async def test_a_name_comes_back_with_its_record(
    desk: Desk, tenancy: Tenancy, admin: Admin, checks: DomainChecks
) -> None:
    tenant = await lapsed(desk, tenancy, admin, checks, "back.example")
    claim = await desk.one(tenant.id)
    desk.names.set(claim.record_name, [claim.record_value])
    await age(admin, tenant.id, checked_hours=25)

    await checks.check_due(datetime.now(UTC))

    assert (await desk.one(tenant.id)).state is DomainState.VERIFIED
    assert await desk.owner("back.example") is not None
    assert (await desk.acts(tenant.id))[-1] == ("domain.verified", "back.example", ActorKind.SYSTEM)


async def test_a_lapsed_name_that_is_another_tenants_by_now_does_not_come_back(
    desk: Desk, tenancy: Tenancy, admin: Admin, checks: DomainChecks
) -> None:
    first = await lapsed(desk, tenancy, admin, checks, "sold.example")
    second = await tenancy.tenant()
    await desk.prove(second.id, "sold.example")
    claim = await desk.one(first.id)
    desk.names.set(claim.record_name, [claim.record_value])
    await age(admin, first.id, checked_hours=25)

    await checks.check_due(datetime.now(UTC))

    after = await desk.one(first.id)
    assert (after.state, after.problem) == (DomainState.LAPSED, TAKEN)
    owner = await desk.owner("sold.example")
    assert owner is not None
    assert owner.tenant_id == second.id


async def test_a_failure_of_the_dns_lets_no_name_lapse(
    desk: Desk, tenancy: Tenancy, admin: Admin, database: Database
) -> None:
    tenant = await tenancy.tenant()
    await desk.prove(tenant.id, "outage.example")
    await age(admin, tenant.id, checked_hours=25, missing_hours=1000)

    await DomainChecks(database, FakeResolver(Outcome.UNANSWERED)).check_due(datetime.now(UTC))

    found = await desk.one(tenant.id)
    assert found.state is DomainState.VERIFIED
    assert "did not answer" in found.problem


async def test_a_round_looks_at_so_many_and_begins_with_those_longest_ago(
    desk: Desk, tenancy: Tenancy, admin: Admin, database: Database
) -> None:
    tenants = [await tenancy.tenant() for _ in range(2)]
    for place, tenant in enumerate(tenants):
        for n in range(AT_ONCE // 2 + 2):
            await desk.claim(tenant.id, f"many-{place}-{n}.example")
        await admin.execute(
            "UPDATE domains SET state = 'verified', checked_at = now() - make_interval(days => $2) "
            "WHERE tenant_id = $1",
            tenant.id,
            8 + place,
        )
    resolver = FakeResolver(Outcome.UNANSWERED)
    checks = DomainChecks(database, resolver)

    first = await checks.check_due(datetime.now(UTC))
    of_the_older = sum("many-1-" in name for name in resolver.asked)
    second = await checks.check_due(datetime.now(UTC))

    assert (first, second) == (AT_ONCE, 4)
    assert of_the_older == AT_ONCE // 2 + 2
    assert len(set(resolver.asked)) == AT_ONCE + 4
    assert await checks.check_due(datetime.now(UTC)) == 0


async def test_names_that_wait_and_those_of_tenants_on_their_way_out_are_not_looked_at(
    desk: Desk, tenancy: Tenancy, admin: Admin, database: Database
) -> None:
    waiting, leaving = await tenancy.tenant(), await tenancy.tenant()
    await desk.claim(waiting.id, "waiting.example")
    await desk.prove(leaving.id, "leaving.example")
    for tenant in (waiting, leaving):
        await age(admin, tenant.id, checked_hours=100)
    await admin.execute("UPDATE organizations SET state = 'deleting' WHERE id = $1", leaving.id)
    resolver = FakeResolver(Outcome.NO_NAME)

    await DomainChecks(database, resolver).check_due(datetime.now(UTC))

    assert resolver.asked == []


async def test_one_process_at_a_time_looks_until_it_is_told_to_stop(
    desk: Desk, tenancy: Tenancy, admin: Admin, database: Database
) -> None:
    tenant = await tenancy.tenant()
    await desk.prove(tenant.id, "leader.example")
    await admin.execute("DELETE FROM leaders WHERE task = 'domain_checks'")
    await age(admin, tenant.id, checked_hours=25)
    resolvers = [FakeResolver(Outcome.UNANSWERED) for _ in range(3)]
    stopping = asyncio.Event()

    parts = [asyncio.create_task(DomainChecks(database, each).run(stopping)) for each in resolvers]
    async with asyncio.timeout(10):
        while not sum(len(each.asked) for each in resolvers):
            await asyncio.sleep(0.01)
    stopping.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*parts)

    assert sum(len(each.asked) for each in resolvers) == 1
    assert await admin.fetchval("SELECT count(*) FROM leaders WHERE task = 'domain_checks'") == 0
