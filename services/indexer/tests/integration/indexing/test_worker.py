"""A worker at its places: it makes way, tries again, gives up, and gives back."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from services.indexer.tests.integration.conftest import until

from quarry_common.contracts.jobs import JobState, Priority
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.parsing.errors import ParseCrashedError
from quarry_indexer.repository import jobs
from quarry_indexer.repository.leases import Lease

from .parts import Parts, long_text


class Stub(Pipeline):
    """A pipeline that does what its test says instead."""

    def __init__(self) -> None:
        pass

    async def clean_up(self, lost: Sequence[Lease]) -> None:
        return None


async def make_way_when_asked(held: Bundle) -> None:
    while True:
        await asyncio.sleep(0.02)
        held.make_way()


async def test_a_document_that_cannot_be_read_fails_alone(parts: Parts) -> None:
    tenant_id = new_id()
    good = await parts.put(tenant_id, "good")
    bad = await parts.put(tenant_id, "%PDF-1.7 broken")
    also_good = await parts.put(tenant_id, "also good")

    async with parts.working():
        ends = [await parts.ended(tenant_id, job_id) for job_id in (good, bad, also_good)]

    assert [job.state for job in ends] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    assert [job.attempt for job in ends] == [1, 1, 1]


async def test_a_tenant_that_waits_gets_a_place_when_all_are_taken(parts: Parts) -> None:
    busy, quiet = (new_id(), new_id(), new_id()), new_id()
    begun = asyncio.Event()

    class Slow(Stub):
        places = 0

        async def run(self, held: Bundle) -> None:
            if held.tenant_id == quiet:
                await parts.pipeline.run(held)
                return
            self.places += 1
            if self.places == 2:
                begun.set()
            await make_way_when_asked(held)

    for tenant_id in busy:
        await parts.put(tenant_id, long_text(90))
    async with parts.working(Slow(), concurrency=2):
        await asyncio.wait_for(begun.wait(), 20)
        job_id = await parts.put(quiet, "quiet")
        job = await parts.ended(quiet, job_id)

    assert job.state is JobState.SUCCEEDED


async def test_an_import_makes_way_for_a_document_that_somebody_waits_for(parts: Parts) -> None:
    tenant_id, begun = new_id(), asyncio.Event()

    class Importing(Stub):
        async def run(self, held: Bundle) -> None:
            if not held.bulk:
                await parts.pipeline.run(held)
                return
            begun.set()
            await make_way_when_asked(held)

    await parts.put(tenant_id, long_text(90), Priority.BULK)
    async with parts.working(Importing(), concurrency=2):
        await asyncio.wait_for(begun.wait(), 20)
        job = await parts.ended(tenant_id, await parts.put(tenant_id, "waited for"))

    assert job.state is JobState.SUCCEEDED


async def test_a_dependency_that_is_away_postpones_the_job(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")

    class Failing(Stub):
        calls = 0

        async def run(self, held: Bundle) -> None:
            self.calls += 1
            if self.calls == 1:
                raise UnavailableError("no route to the vector index")
            await parts.pipeline.run(held)

    pipeline = Failing()
    async with parts.working(pipeline):
        job = await parts.ended(tenant_id, job_id)

    assert (job.state, job.attempt, pipeline.calls) == (JobState.SUCCEEDED, 2, 2)


async def test_a_fault_nobody_foresaw_is_sought_document_by_document(parts: Parts) -> None:
    tenant_id = new_id()
    ids = [await parts.put(tenant_id, f"document {n}") for n in range(3)]

    class Faulty(Stub):
        async def run(self, held: Bundle) -> None:
            if ids[1] in held.members:
                raise RuntimeError("nobody foresaw this")
            await parts.pipeline.run(held)

    async with parts.working(Faulty()):
        ends = [await parts.ended(tenant_id, job_id) for job_id in ids]

    assert [job.state for job in ends] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    assert ends[1].error is not None
    assert ends[1].error.code == "internal_error"


async def test_a_document_that_kills_its_reader_is_read_once_more_alone(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "poison")
    tries: list[bool] = []

    class Poisoned(Stub):
        async def run(self, held: Bundle) -> None:
            for lease in list(held.members.values()):
                tries.append(lease.alone)
                await held.fail(lease, ParseCrashedError("The parser process ended with SIGSEGV."))

    async with parts.working(Poisoned()):
        job = await parts.ended(tenant_id, job_id)

    assert (job.state, tries) == (JobState.FAILED, [False, True])
    assert job.error is not None
    assert job.error.code == "parse_crashed"


async def test_a_job_that_fails_after_it_was_taken_away_is_cleaned_up_after(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")
    cleaned: list[UUID] = []

    class Late(Stub):
        async def run(self, held: Bundle) -> None:
            async with parts.database.tenant_transaction(tenant_id) as connection:
                await jobs.cancel(connection, "by the test", job_ids=[job_id])
            raise UnavailableError("the connection broke while the process stood still")

        async def clean_up(self, lost: Sequence[Lease]) -> None:
            cleaned.extend(lease.job_id for lease in lost)

    async def cleaned_up() -> bool:
        return bool(cleaned)

    async with parts.working(Late()):
        await until(cleaned_up)

    assert cleaned == [job_id]


async def test_a_stopping_worker_gives_its_job_back_at_once(parts: Parts) -> None:
    tenant_id = new_id()
    await parts.put(tenant_id, "text")
    begun = asyncio.Event()

    class Endless(Stub):
        async def run(self, held: Bundle) -> None:
            begun.set()
            await asyncio.Event().wait()

    async with parts.working(Endless()):
        await asyncio.wait_for(begun.wait(), 10)

    lease = await parts.claim()
    assert lease is not None
    assert (lease.tenant_id, lease.attempt, lease.takeovers) == (tenant_id, 2, 0)


async def test_a_job_whose_workers_keep_dying_is_given_up(parts: Parts) -> None:
    tenant_id = new_id()
    job_id = await parts.put(tenant_id, "text")
    async with parts.database.worker_transaction() as connection:
        await connection.execute("UPDATE jobs SET takeovers = 21 WHERE id = $1", job_id)

    async with parts.working():
        job = await parts.ended(tenant_id, job_id)

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "job_abandoned"
