"""Documents that go in while processes die, and what must be true when all is over."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

import httpx
import pytest
from tests.chaos import checks
from tests.platform import POLL_SECONDS, Platform, Tenant, until

PARAGRAPH = "The surveyor measured the eastern wall, wrote down the figure and went on to the next room."
ALLOWED = frozenset({200, 429, 502, 503, 504})
"""What a search may be answered with while a part of the platform is away; never a 500."""
SETTLE_SECONDS = 240.0
RECOVERY_SECONDS = 120.0


def content(number: int) -> str:
    """Return the text of a document: most are short, every fifth has many passages."""
    paragraphs = 40 if number % 5 == 0 else 2
    return "\n\n".join(f"Room {number}-{part}. {PARAGRAPH}" for part in range(paragraphs))


@dataclass
class Load:
    """Documents sent by a client that retries, and searches that run beside them."""

    platform: Platform
    tenant: Tenant
    jobs: dict[str, UUID] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict)
    """How many searches were answered with each status."""
    queries: list[str] = field(default_factory=lambda: ["surveyor room"])
    """What is searched for, in turn; it may grow."""
    seen_twice: list[str] = field(default_factory=list)
    """Answers that held two versions of a document."""

    async def send(self, number: int) -> None:
        """Send one document until it is accepted."""
        name = f"room-{number}"
        accepted = await self.tenant.client.put_document(name, content=content(number))
        self.jobs[name] = accepted.job_id

    async def send_while(self, numbers: range, what: asyncio.Task[None]) -> None:
        """Send documents, four at a time, at least until `what` is done."""
        left = iter(numbers)

        async def sender() -> None:
            for number in left:
                await self.send(number)

        await asyncio.gather(*(sender() for _ in range(4)), what)

    async def search_until(self, stop: asyncio.Event) -> None:
        """Search all the time, and see what is answered."""
        for number in count():
            if stop.is_set():
                return
            query = self.queries[number % len(self.queries)]
            try:
                answer = await self.tenant.http.post(
                    "/api/search", json={"query": query, "limit": 50}, timeout=20
                )
            except httpx.TransportError:
                await asyncio.sleep(POLL_SECONDS)
                continue
            self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
            assert answer.status_code in ALLOWED, answer.text
            if answer.status_code == 200:
                self.seen_twice += checks.versions_seen_twice(answer.json()["results"])
            await asyncio.sleep(POLL_SECONDS)

    async def probe(self, name: str) -> None:
        """Return when a new document can be sent and found, and the platform calls itself healthy."""

        async def works() -> bool:
            try:
                job = await self.tenant.http.put(
                    f"/api/documents/by-external-id/{name}",
                    params={"wait": "searchable", "timeout_seconds": "60"},
                    json={"title": name, "content": f"Sounding {name}."},
                )
                found = await self.tenant.http.post("/api/search", json={"query": name, "mode": "keyword"})
                health = await self.tenant.http.get("/api/health")
            except httpx.TransportError:
                return False
            if not all(answer.status_code == 200 for answer in (job, found, health)):
                return False
            first = next(iter(found.json()["results"]), None)
            return health.json()["status"] == "healthy" and first is not None and first["title"] == name

        await until(works, RECOVERY_SECONDS, f"the platform works again ({name})")

    async def settled(self) -> None:
        """Check that every accepted job succeeded and that Postgres and the index hold the same."""
        assert self.seen_twice == []
        for name, job_id in self.jobs.items():
            job = await self.tenant.succeeded(job_id, SETTLE_SECONDS)
            assert job.chunks_done == job.chunks_total, name
        for state in ("queued", "running", "failed"):
            assert (await self.tenant.client.list_jobs(state=state)).jobs == []
        await self.stores_agree()
        names = list(self.jobs)
        for name in (names[0], names[len(names) // 2], names[-1]):
            number = name.removeprefix("room-")
            answer = await self.tenant.search(
                f"Room {number}-0", mode="keyword", filters={"external_id": name}, limit=1
            )
            assert [result.external_id for result in answer.results] == [name]

    async def stores_agree(self) -> None:
        """Check that the points that searches find are the chunks that Postgres knows, and no others."""
        tenant_id = self.tenant.id
        collection = await self.tenant.client.get_collection("default")
        async with self.platform.database() as database, self.platform.index(collection.embedder_id) as index:

            async def chunks() -> int:
                return await database.fetchval(  # type: ignore[no-any-return]
                    """
                    SELECT count(*) FROM indexer.chunks c
                    JOIN indexer.documents d ON d.id = c.document_id AND d.current_version = c.version
                    WHERE c.tenant_id = $1
                    """,
                    tenant_id,
                )

            async def purged() -> bool:
                return await index.count(tenant_id) == await chunks()

            await until(purged, 60, "nothing but current points is in the index")
            assert await index.count(tenant_id, active=True) == await chunks() == collection.chunk_count
            per_document = await database.fetch(
                """
                SELECT d.id, d.current_version, v.chunk_count FROM indexer.documents d
                JOIN indexer.versions v ON v.document_id = d.id AND v.version = d.current_version
                WHERE d.tenant_id = $1
                """,
                tenant_id,
            )
            for row in per_document:
                active = await index.count(tenant_id, row["id"], row["current_version"], active=True)
                assert active == row["chunk_count"], row

            async def published() -> bool:
                waiting = await database.fetchval(
                    "SELECT count(*) FROM indexer.outbox WHERE published_at IS NULL AND tenant_id = $1",
                    tenant_id,
                )
                return bool(waiting == 0)

            await until(published, 60, "every event and command was published")


@pytest.fixture
async def load(platform: Platform, tenant: Tenant) -> AsyncIterator[Load]:
    """Yield the load of one test; the platform is whole before and after."""
    await platform.all_ready()
    yield Load(platform, tenant)
    await platform.all_ready()
