"""A process may stand still for longer than its lease, and wake: another has gone on, and it does no harm."""

import pytest
from tests.chaos.conftest import Load, content
from tests.chaos.faults import frozen, second
from tests.platform import Platform, until

LONG = "\n\n".join(content(0).replace("Room 0", f"Hall {n}") for n in range(8))


@pytest.mark.timeout(240)
async def test_another_worker_takes_over_from_a_frozen_indexer(load: Load, platform: Platform) -> None:
    first = platform.process("indexer")
    await load.send(1)
    accepted = await load.tenant.client.put_document("long", content=LONG)

    async def under_way() -> bool:
        return (await load.tenant.client.get_job(accepted.job_id)).chunks_done > 0

    await until(under_way, 60, "some of the document is written")
    async with platform.database() as database:

        async def taken_over() -> bool:
            # Not over the API: half of its requests would go to the process that stands still.
            row = await database.fetchrow(
                "SELECT state, attempt FROM indexer.jobs WHERE id = $1", accepted.job_id
            )
            return row is not None and (row["state"], row["attempt"]) == ("succeeded", 2)

        with frozen(first), second(platform, "indexer"):
            # A process may stand still in the middle of a transaction; Postgres ends that after a minute.
            await until(taken_over, 110, "the other worker has finished the job")

    await load.probe("after-the-thaw")
    await load.settled()
    again = await load.tenant.client.get_job(accepted.job_id)
    assert (again.state, again.attempt, again.chunks_done) == ("succeeded", 2, again.chunks_total)


async def test_a_lone_indexer_that_stood_still_goes_on_by_itself(load: Load, platform: Platform) -> None:
    for number in range(3):
        await load.send(number)
    accepted = await load.tenant.client.put_document("long", content=LONG)
    load.jobs["long"] = accepted.job_id

    async def under_way() -> bool:
        return (await load.tenant.client.get_job(accepted.job_id)).state == "running"

    await until(under_way, 60, "the job has begun")
    async with platform.database() as database:

        async def expired() -> bool:
            return bool(
                await database.fetchval(
                    "SELECT leased_until < now() FROM indexer.jobs WHERE id = $1", accepted.job_id
                )
            )

        with frozen(platform.process("indexer")):
            await until(expired, 30, "the lease has expired")

    await load.settled()


async def test_requests_are_refused_clearly_while_the_indexer_stands_still(
    load: Load, platform: Platform
) -> None:
    with frozen(platform.process("indexer")):
        answer = await load.tenant.http.put(
            "/api/documents/by-external-id/a", json={"content": "x"}, timeout=30
        )
        assert answer.status_code in {503, 504}
        assert answer.headers["retry-after"]
        assert answer.json()["advice"]
    await load.send(1)
    await load.probe("after-the-thaw")
    await load.settled()
