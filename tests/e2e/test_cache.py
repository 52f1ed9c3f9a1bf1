"""The caches over HTTP: how they do, and that an emptied one answers nothing of before."""

from tests.platform import Platform, Tenant, until

from quarry_client import AsyncClient


async def cached(tenant: Tenant) -> bool:
    return (await tenant.search("brass key")).cache == "hit"


async def test_a_tenant_empties_its_own_cache_and_no_others(
    platform: Platform, tenant: Tenant, other_tenant: Tenant
) -> None:
    for each in (tenant, other_tenant):
        await each.put("vault", "The vault opens with a brass key.")
        await until(lambda each=each: cached(each), 20, "an answer is kept")  # type: ignore[misc]

    done = await tenant.client.purge_cache()

    assert (done.tenant, done.complete) == (tenant.slug, True)
    assert {each.service for each in done.instances} == {"gateway", "search"}
    assert done.memory_entries >= 2
    assert (await tenant.search("brass key")).cache == "miss"
    assert (await other_tenant.search("brass key")).cache == "hit"
    async with AsyncClient(platform.url, platform.operator_key) as operator:
        report = await operator.cache_stats()
        everybody = await operator.purge_cache()
    assert {"answers", "embeddings", "principals", "tenants"} <= {each.name for each in report.caches}
    assert report.redis is not None
    assert report.total.hits > 0
    assert (everybody.tenant, everybody.complete) == (None, True)
    assert (await other_tenant.search("brass key")).cache == "miss"
