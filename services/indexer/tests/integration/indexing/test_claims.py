"""Which jobs an indexer takes: tenants in turn, small documents together, what is waited for first."""

from quarry_common.contracts.jobs import Priority
from quarry_common.ids import new_id
from quarry_indexer.repository.claims import TOGETHER

from .parts import Parts, long_text


async def test_tenants_take_turns(parts: Parts) -> None:
    busy, quiet = new_id(), new_id()
    for n in range(3):
        await parts.put(busy, long_text(90, f"busy{n}"))
    await parts.put(quiet, "quiet")

    order = [(await parts.claim_all())[0].tenant_id for _ in range(4)]

    assert order.index(quiet) <= 1
    assert order.count(busy) == 3


async def test_a_tenant_with_fewer_leases_comes_first(parts: Parts) -> None:
    busy, quiet = new_id(), new_id()
    for n in range(3):
        await parts.put(busy, long_text(90, f"busy{n}"))
    assert [(await parts.claim_all())[0].tenant_id for _ in range(2)] == [busy, busy]
    await parts.put(quiet, "quiet")

    assert (await parts.claim_all())[0].tenant_id == quiet


async def test_who_has_all_places_it_may_have_is_passed_over(parts: Parts) -> None:
    busy = new_id()
    await parts.put(busy, "text")

    assert await parts.claim_all(passed_over=[busy]) == []


async def test_small_documents_are_taken_together_and_large_ones_alone(parts: Parts) -> None:
    tenant_id = new_id()
    for n in range(TOGETHER + 3):
        await parts.put(tenant_id, f"small {n}")
    large = await parts.put(tenant_id, long_text(90))

    first, second, third = await parts.claim_all(), await parts.claim_all(), await parts.claim_all()

    assert (len(first), len(second), [lease.job_id for lease in third]) == (TOGETHER, 3, [large])
    assert len({lease.token for lease in first}) == 1


async def test_who_waits_comes_before_imports_and_imports_get_every_fourth_turn(parts: Parts) -> None:
    tenant_id = new_id()
    for n in range(2):
        await parts.put(tenant_id, long_text(90, f"bulk{n}"), Priority.BULK)
    for n in range(4):
        await parts.put(tenant_id, long_text(90, f"now{n}"))

    taken = [(await parts.claim_all())[0] for _ in range(6)]

    priorities = [(await parts.job(lease)).priority for lease in taken]
    assert priorities == [Priority.INTERACTIVE] * 3 + [Priority.BULK, Priority.INTERACTIVE, Priority.BULK]


async def test_a_leased_job_is_nobody_elses(parts: Parts) -> None:
    await parts.put(new_id(), "text")

    first, second = await parts.claim(60), await parts.claim(60)

    assert first is not None
    assert second is None
