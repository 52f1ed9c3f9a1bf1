"""Two search services answer from their caches while documents change: nobody reads what is long over."""

import asyncio
import re
from datetime import timedelta

import pytest
from tests.chaos.faults import second
from tests.platform import Platform, Tenant, until

from quarry_client.types import Answer

READERS = 8
CHANGES = 8
PAUSES_SECONDS = (0.2, 3.0)
"""Between two changes: the short ones come upon each other, in the long ones answers are kept."""
OLDEST_SECONDS = 1.0
NUMBER = re.compile(r"the number (\d+)")


class Reading:
    """Eight readers that search all the time."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._now = asyncio.get_running_loop().time
        self._written = [(0, self._now())]
        self.stale: list[str] = []
        self.uses: list[str] = []
        """What each search had of the cache."""

    def wrote(self, number: int) -> None:
        """Take note that `number` can be found from now on."""
        self._written.append((number, self._now()))

    async def run(self, over: asyncio.Event) -> None:
        """Search until it is over."""
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._read(over))

    async def _read(self, over: asyncio.Event) -> None:
        while not over.is_set():
            began = self._now()
            known = max(number for number, at in self._written if at <= began - OLDEST_SECONDS or not number)
            answer = await self._tenant.search("stone", mode="keyword")
            self.uses.append(answer.cache)
            if (seen := number_in(answer)) < known:
                self.stale.append(f"{seen} where {known} had been there for a second")


def number_in(answer: Answer) -> int:
    found = [int(NUMBER.findall(result.text)[0]) for result in answer.results]
    assert len(found) == 1, f"{len(found)} results for one document"
    return found[0]


async def write(tenant: Tenant, number: int) -> None:
    await tenant.put("stone", f"The stone bears the number {number}.")


async def in_a_row(tenant: Tenant, use: str) -> None:
    """Return when each of the two services, which answer in no order, has that use of its cache."""

    async def all_of_them() -> bool:
        answers = [await tenant.search("stone", mode="keyword") for _ in range(20)]
        return {answer.cache for answer in answers} == {use}

    await until(all_of_them, 40, f"every search has {use!r} of the cache")


@pytest.mark.timeout(240)
async def test_no_answer_is_older_than_a_second_and_without_events_none_is_cached(
    platform: Platform, tenant: Tenant
) -> None:
    await write(tenant, 0)
    with second(platform, "search"):
        await in_a_row(tenant, "hit")
        reading, over = Reading(tenant), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(reading.run(over))
            for number in range(1, CHANGES + 1):
                await write(tenant, number)
                reading.wrote(number)
                await asyncio.sleep(PAUSES_SECONDS[number % 2])
            over.set()

        assert reading.stale == []
        assert reading.uses.count("hit") > len(reading.uses) / 10
        assert reading.uses.count("miss") >= CHANGES / 2

        await in_a_row(tenant, "hit")
        async with platform.database() as database:
            # Nobody relays events any more; all else goes on.
            await database.execute(
                "UPDATE indexer.leaders SET holder = gen_random_uuid(), leased_until = now() + $1"
                " WHERE task = 'outbox'",
                timedelta(minutes=5),
            )
            try:
                await in_a_row(tenant, "off")
                document = (await tenant.search("stone", mode="keyword")).results[0].document_id
                await tenant.client.delete_document(document)
                answers = [await tenant.search("stone", mode="keyword") for _ in range(20)]
                assert [(answer.total, answer.cache) for answer in answers] == [(0, "off")] * 20
            finally:
                await database.execute("DELETE FROM indexer.leaders WHERE task = 'outbox'")
        await in_a_row(tenant, "hit")
