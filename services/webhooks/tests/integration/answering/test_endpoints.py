import asyncio

import msgspec
import pytest
from services.webhooks.tests.integration.answering.conftest import URL, Connection, Tenant, delivery, told

from quarry_common.contracts.audit import OWNERS_OF_WEBHOOKS, OwnersOf
from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import Quota
from quarry_common.contracts.webhooks import (
    DELETE_ENDPOINT,
    GET_ENDPOINT,
    LIST_ENDPOINTS,
    ROTATE_SECRET,
    UPDATE_ENDPOINT,
    Circuit,
    DisabledReason,
    Endpoint,
    EndpointChanges,
    EndpointRef,
    ListEndpoints,
    RotateSecret,
    UpdateEndpoint,
)
from quarry_common.errors import RemoteError
from quarry_webhooks import signing
from quarry_webhooks.sealing import Sealer


async def update(
    tenant: Tenant, endpoint: Endpoint, revision: int | None = None, **changes: object
) -> Endpoint:
    asked = UpdateEndpoint(tenant.ref(endpoint, revision), EndpointChanges(**changes))  # type: ignore[arg-type]
    return await tenant.rpc.call(UPDATE_ENDPOINT, asked)


async def test_what_was_created_is_read_as_it_was_asked_for(tenant: Tenant) -> None:
    made = await tenant.create(
        description="the shop",
        event_types=["document.*", "job.failed"],
        headers={"Authorization": "Bearer t0ken"},
        enabled=True,
        ordered=True,
        requests_per_second=5,
    )

    read = await tenant.rpc.call(GET_ENDPOINT, tenant.ref(made.endpoint))

    assert signing.key_of(made.secret)
    assert read == made.endpoint
    assert (read.url, read.description, read.event_types) == (URL, "the shop", ["document.*", "job.failed"])
    assert (read.header_names, read.ordered, read.requests_per_second) == (["Authorization"], True, 5)
    assert (read.enabled, read.disabled_reason, read.circuit) == (True, None, Circuit.CLOSED)
    assert (read.pending, read.held, read.revision) == (0, 0, 1)


async def test_a_secret_of_the_owners_own_is_kept(tenant: Tenant) -> None:
    secret = signing.generate_secret()

    assert (await tenant.create(secret=secret)).secret == secret


async def test_secrets_and_headers_are_nowhere_in_the_clear(
    tenant: Tenant, admin: Connection, sealer: Sealer
) -> None:
    made = await tenant.create(headers={"Authorization": "Bearer t0ken"}, key="sealed")

    row = await admin.fetchrow("SELECT * FROM endpoints WHERE id = $1", made.endpoint.id)
    replies = await admin.fetch("SELECT reply FROM idempotency_keys WHERE tenant_id = $1", tenant.id)

    assert row is not None
    assert made.secret.encode() not in row["secret"] + replies[0]["reply"]
    assert b"t0ken" not in row["headers"]
    assert sealer.open(tenant.id, made.endpoint.id, row["secret"]) == made.secret.encode()
    opened = msgspec.json.decode(sealer.open(tenant.id, made.endpoint.id, row["headers"]))
    assert opened == {"Authorization": "Bearer t0ken"}


async def test_pages_hold_every_endpoint_once_oldest_first(tenant: Tenant) -> None:
    made = [(await tenant.endpoint()).id for _ in range(5)]

    found, cursor = [], None
    while True:
        page = await tenant.rpc.call(LIST_ENDPOINTS, ListEndpoints(tenant.id, 2, cursor))
        found += [endpoint.id for endpoint in page.endpoints]
        if (cursor := page.next_cursor) is None:
            break

    assert found == made


async def test_another_tenants_endpoint_is_not_there(tenant: Tenant, stranger: Tenant) -> None:
    endpoint = await tenant.endpoint()
    theirs = EndpointRef(stranger.id, endpoint.id)

    for call in (
        stranger.rpc.call(GET_ENDPOINT, theirs),
        stranger.rpc.call(UPDATE_ENDPOINT, UpdateEndpoint(theirs, EndpointChanges(enabled=True))),
        stranger.rpc.call(DELETE_ENDPOINT, theirs),
        stranger.rpc.call(ROTATE_SECRET, RotateSecret(theirs)),
        stranger.test(endpoint),
    ):
        with pytest.raises(RemoteError) as caught:
            await call
        assert caught.value.data.status == 404
    assert (await stranger.rpc.call(LIST_ENDPOINTS, ListEndpoints(stranger.id, 10))).endpoints == []
    assert await tenant.rpc.call(GET_ENDPOINT, tenant.ref(endpoint)) == endpoint


async def test_whose_ids_are_is_known(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint()
    sent = await tenant.test(endpoint)

    owners = await tenant.rpc.call(OWNERS_OF_WEBHOOKS, OwnersOf([endpoint.id, sent.id, tenant.id]))

    assert owners.tenants == {str(endpoint.id): tenant.id, str(sent.id): tenant.id}


async def test_of_many_at_once_no_more_are_made_than_the_quota(tenant: Tenant) -> None:
    made = await asyncio.gather(*(tenant.create(limit=5) for _ in range(20)), return_exceptions=True)

    refused = [each for each in made if isinstance(each, RemoteError)]
    assert (len(refused), {each.data.code for each in refused}) == (15, {"quota_exceeded"})
    page = await tenant.rpc.call(LIST_ENDPOINTS, ListEndpoints(tenant.id, 100))
    assert len(page.endpoints) == 5


async def test_a_quota_is_told_of_at_four_fifths_and_when_it_is_used_up_once_each(
    tenant: Tenant, admin: Connection
) -> None:
    made = [await tenant.endpoint(limit=5) for _ in range(5)]
    for _ in range(2):
        with pytest.raises(RemoteError):
            await tenant.create(limit=5)
    assert await told(admin, tenant.id) == [
        QuotaThresholdReached(Quota.WEBHOOKS, 5, 4, 80),
        QuotaExceeded(Quota.WEBHOOKS, 5, 5),
    ]

    for endpoint in made[:2]:
        await tenant.rpc.call(DELETE_ENDPOINT, tenant.ref(endpoint))
    await tenant.create(limit=5)

    assert len(await told(admin, tenant.id)) == 3


async def test_a_refusal_alone_tells_that_the_quota_is_used_up(tenant: Tenant, admin: Connection) -> None:
    with pytest.raises(RemoteError):
        await tenant.create(limit=0)

    assert await told(admin, tenant.id) == [QuotaExceeded(Quota.WEBHOOKS, 0, 0)]


async def test_under_an_idempotency_key_one_is_made(tenant: Tenant) -> None:
    made = await asyncio.gather(*(tenant.create(key="once") for _ in range(5)))

    assert len({each.secret for each in made}) == 1
    assert len((await tenant.rpc.call(LIST_ENDPOINTS, ListEndpoints(tenant.id, 10))).endpoints) == 1
    with pytest.raises(RemoteError) as caught:
        await tenant.create(key="once", description="another")
    assert caught.value.data.code == "idempotency_key_reused"


async def test_what_may_not_be_is_refused_by_field(tenant: Tenant) -> None:
    with pytest.raises(RemoteError) as caught:
        await tenant.create(url="http://acme.example", headers={"Host": "x"})

    assert [error.field for error in caught.value.data.errors] == ["url", "headers.Host"]


async def test_a_change_leaves_what_it_does_not_name(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint(description="before", requests_per_second=5)

    changed = await update(tenant, endpoint, description="after", requests_per_second=None)

    assert (changed.description, changed.requests_per_second, changed.url) == ("after", None, URL)
    assert (changed.revision, changed.updated_at > endpoint.updated_at) == (2, True)


async def test_a_change_of_nothing_leaves_the_revision(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint(description="same")

    assert await update(tenant, endpoint, description="same") == endpoint


async def test_only_the_revision_that_is_named_is_changed(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint()
    await update(tenant, endpoint, revision=1, description="second")

    for call in (
        update(tenant, endpoint, revision=1, description="third"),
        tenant.rpc.call(ROTATE_SECRET, RotateSecret(tenant.ref(endpoint, 1))),
        tenant.rpc.call(DELETE_ENDPOINT, tenant.ref(endpoint, 1)),
    ):
        with pytest.raises(RemoteError) as caught:
            await call
        assert caught.value.data.status == 412
    assert (await tenant.rpc.call(GET_ENDPOINT, tenant.ref(endpoint))).description == "second"


async def test_what_waits_is_held_while_its_endpoint_is_switched_off(
    tenant: Tenant, admin: Connection
) -> None:
    endpoint = await tenant.endpoint(enabled=True)
    await delivery(admin, endpoint, tenant, "pending")

    off = await update(tenant, endpoint, enabled=False)
    on = await update(tenant, endpoint, enabled=True)

    assert (off.disabled_reason, off.pending, off.held) == (DisabledReason.OWNER, 0, 1)
    assert (on.disabled_reason, on.pending, on.held) == (None, 1, 0)


async def test_what_was_held_is_due_at_once_when_its_endpoint_is_enabled(
    tenant: Tenant, admin: Connection
) -> None:
    endpoint, due = await tenant.endpoint(), "SELECT due_at FROM queues WHERE endpoint_id = $1"
    held = await delivery(admin, endpoint, tenant, "held")

    await update(tenant, endpoint, enabled=True)
    attempt = await admin.fetchval("SELECT next_attempt_at FROM deliveries WHERE id = $1", held)
    assert await admin.fetchval(due, endpoint.id) == attempt

    await update(tenant, endpoint, enabled=False)
    assert await admin.fetchval(due, endpoint.id) is None


@pytest.mark.parametrize("changes", [{"enabled": True}, {"url": "https://other.example/"}])
async def test_who_is_enabled_or_moved_begins_anew(
    tenant: Tenant, admin: Connection, changes: dict[str, object]
) -> None:
    endpoint = await tenant.endpoint()
    await admin.execute(
        """
        UPDATE queues SET failures = 7, circuit_until = now() + interval '1 hour', failing_since = now(),
            lease_token = gen_random_uuid(), leased_until = now() + interval '1 hour'
        WHERE endpoint_id = $1
        """,
        endpoint.id,
    )
    assert (await tenant.rpc.call(GET_ENDPOINT, tenant.ref(endpoint))).circuit is Circuit.OPEN

    changed = await update(tenant, endpoint, **changes)

    assert (changed.circuit, changed.circuit_until, changed.failing_since) == (Circuit.CLOSED, None, None)
    assert await admin.fetchval("SELECT lease_token FROM queues WHERE endpoint_id = $1", endpoint.id) is None


async def test_both_secrets_are_kept_during_the_overlap(
    tenant: Tenant, admin: Connection, sealer: Sealer
) -> None:
    made = await tenant.create()

    rotated = await tenant.rpc.call(ROTATE_SECRET, RotateSecret(tenant.ref(made.endpoint), 24.0))

    row = await admin.fetchrow("SELECT * FROM endpoints WHERE id = $1", made.endpoint.id)
    assert row is not None
    assert rotated.secret != made.secret
    assert rotated.endpoint.secret_expires_at == row["previous_until"]
    assert sealer.open(tenant.id, made.endpoint.id, row["secret"]).decode() == rotated.secret
    assert sealer.open(tenant.id, made.endpoint.id, row["previous_secret"]).decode() == made.secret


async def test_without_an_overlap_the_old_secret_is_gone(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()

    rotated = await tenant.rpc.call(ROTATE_SECRET, RotateSecret(tenant.ref(endpoint), 0.0))

    assert rotated.endpoint.secret_expires_at is None
    assert await admin.fetchval("SELECT previous_secret FROM endpoints WHERE id = $1", endpoint.id) is None


async def test_a_rotation_is_done_once_under_its_key(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint()
    asked = RotateSecret(tenant.ref(endpoint), 24.0, idempotency_key="rotate")

    first, second = [await tenant.rpc.call(ROTATE_SECRET, asked) for _ in range(2)]

    assert (first, second.endpoint.revision) == (second, 2)


async def test_who_is_deleted_is_gone_with_its_log(tenant: Tenant, admin: Connection) -> None:
    endpoint, kept = await tenant.endpoint(), await tenant.endpoint()
    await tenant.test(kept)
    await tenant.test(endpoint)

    gone = await tenant.rpc.call(DELETE_ENDPOINT, tenant.ref(endpoint))

    assert gone.id == endpoint.id
    with pytest.raises(RemoteError) as caught:
        await tenant.rpc.call(GET_ENDPOINT, tenant.ref(endpoint))
    assert caught.value.data.status == 404
    rows = await admin.fetch("SELECT endpoint_id FROM deliveries WHERE tenant_id = $1", tenant.id)
    assert [row["endpoint_id"] for row in rows] == [kept.id]
    assert await admin.fetchval("SELECT count(*) FROM queues WHERE tenant_id = $1", tenant.id) == 1
