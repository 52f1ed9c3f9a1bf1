"""The audit log of a running platform: who did what, and that nobody changes it unseen."""

import httpx
from tests.platform import Platform, Tenant, until


async def entries(client: httpx.AsyncClient, **query: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await client.get("/api/audit", params=query)).json()["entries"]
    return found


async def settled(client: httpx.AsyncClient) -> None:
    """Wait until the operator's request for the tenant's key, the last of its making, is in the log."""

    async def written() -> bool:
        return bool(await entries(client, action="operator"))

    await until(written, 10, "the operator's request is in the log")


async def test_administrative_acts_are_told_with_who_what_and_from_where(tenant: Tenant) -> None:
    await settled(tenant.http)
    await tenant.client.create_collection("contracts")
    made = await tenant.client.create_key("shop", scopes=["search"])
    await tenant.client.revoke_key(made.api_key.id)
    await tenant.client.delete_collection("contracts")

    found = await entries(tenant.http)

    told = [(entry["action"], entry["target"]) for entry in found]
    assert told[:4] == [
        ("collection.deleted", "contracts"),
        ("api_key.revoked", str(made.api_key.id)),
        ("api_key.created", str(made.api_key.id)),
        ("collection.created", "contracts"),
    ]
    revoked = found[1]
    assert revoked["actor"]["kind"] == "key"  # type: ignore[index]
    assert revoked["actor"]["address"] == "127.0.0.1"  # type: ignore[index]
    assert revoked["actor"]["request_id"]  # type: ignore[index]
    assert revoked["before"]["revoked_at"] is None  # type: ignore[index]
    assert revoked["after"]["revoked_at"]  # type: ignore[index]
    assert made.key not in str(found)


async def test_reaching_for_another_tenant_is_written_down(
    platform: Platform, tenant: Tenant, other_tenant: Tenant
) -> None:
    job = await other_tenant.put("theirs", "Nothing of interest.")
    headers = {"X-Tenant": other_tenant.slug}

    assert (await tenant.http.get("/api/jobs", headers=headers)).status_code == 403
    assert (await tenant.http.get(f"/api/documents/{job.document_id}")).status_code == 404
    assert (await tenant.http.get(f"/api/documents/{tenant.id}")).status_code == 404

    async with platform.http(platform.operator_key) as operator:

        async def written() -> bool:
            own = await entries(tenant.http, outcome="denied")
            all_of_them = await entries(operator, outcome="denied", action="document")
            return f"tenant {other_tenant.slug}" in {entry["target"] for entry in own} and any(
                entry["target"] == str(job.document_id) for entry in all_of_them
            )

        await until(written, 10, "both attempts are written down")
    # An id that there is not is no attempt on anybody.
    assert str(tenant.id) not in str(
        [entry["target"] for entry in await entries(tenant.http, outcome="denied")]
    )
    assert await entries(other_tenant.http, outcome="denied") == []


async def test_what_an_operator_does_for_a_tenant_is_in_the_tenants_log(
    platform: Platform, tenant: Tenant
) -> None:
    async with platform.http(platform.operator_key, tenant.slug) as operator:
        assert (await operator.get("/api/documents")).status_code == 200

    async def written() -> bool:
        found = await entries(tenant.http, action="operator")
        return any(
            entry["target"] == "GET /api/documents" and entry["actor"]["kind"] == "operator"  # type: ignore[index]
            for entry in found
        )

    await until(written, 10, "the operator's request is in the log")


async def test_a_changed_entry_and_a_missing_last_one_show(platform: Platform, tenant: Tenant) -> None:
    await settled(tenant.http)
    for name in ("a", "b", "c"):
        await tenant.client.create_collection(name)

    async def verdict() -> dict[str, object]:
        found: dict[str, object] = (await tenant.http.get("/api/audit/verify")).json()
        return found

    before = await verdict()
    assert before["intact"] is True
    assert before["entries"] == before["head_number"]
    async with platform.database() as database:
        last = before["head_number"]
        assert isinstance(last, int)
        changed = "UPDATE tenants.audit_entries SET target = $3 WHERE tenant_id = $1 AND number = $2"
        await database.execute(changed, tenant.id, last - 1, "x")
        shown = await verdict()
        assert (shown["intact"], shown["first_fault"]) == (False, last - 1)
        await database.execute(changed, tenant.id, last - 1, "b")
        assert (await verdict())["intact"] is True

        await database.execute(
            "DELETE FROM tenants.audit_entries WHERE tenant_id = $1 AND number = $2", tenant.id, last
        )
        shown = await verdict()
        assert (shown["intact"], shown["first_fault"]) == (False, last)
