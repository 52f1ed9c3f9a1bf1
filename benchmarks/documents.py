"""Documents as applications send them, and when they are found."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import msgspec
from benchmarks.texts import Writer
from tests.platform import Tenant

from quarry_client.types import JobStateName

SENDERS = 8
BATCH = 100
POLL_SECONDS = 0.02
POLL_SHARE = 0.05
"""Of the time waited so far, until the next question."""
SHORT_WORDS = 130
"""One chunk."""
JSON = {"Content-Type": "application/json"}


class Text(msgspec.Struct, frozen=True):
    """A document of text."""

    external_id: str
    title: str
    content: str


def short(writer: Writer, name: str) -> Text:
    """Return a document of one chunk."""
    topic = writer.topic()
    return Text(name, writer.text(topic, 4).rstrip("."), writer.text(topic, SHORT_WORDS))


async def post(http: httpx.AsyncClient, text: Text) -> UUID:
    """Send one document and return its job; raises what is no acceptance."""
    answer = await http.post("/api/documents", content=msgspec.json.encode(text), headers=JSON)
    answer.raise_for_status()
    return UUID(answer.json()["job_id"])


async def post_batch(http: httpx.AsyncClient, texts: Sequence[Text]) -> list[UUID]:
    """Send documents in one request and return their jobs; raises when one is not accepted."""
    body = msgspec.json.encode({"documents": texts})
    answer = await http.post("/api/documents/batch", content=body, headers=JSON)
    answer.raise_for_status()
    return [UUID(result["job_id"]) for result in answer.json()["results"]]


async def in_batches(http: httpx.AsyncClient, texts: Sequence[Text]) -> list[UUID]:
    """Send documents a hundred at a time, one request after the other, and return their jobs."""
    parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    return [job for part in parts for job in await post_batch(http, part)]


async def succeeded(http: httpx.AsyncClient, job_id: UUID, deadline_seconds: float) -> float:
    """Return the moment (of `time.perf_counter`) at which a job has succeeded; raises at any other end.

    Who waits long asks less often: asking must not be what the platform is busy with.
    """
    begun = time.perf_counter()
    async with asyncio.timeout(deadline_seconds):
        while True:
            answer = await http.get(f"/api/jobs/{job_id}")
            answer.raise_for_status()
            state = answer.json()["state"]
            if state == "succeeded":
                return time.perf_counter()
            if state in {"failed", "cancelled"}:
                raise RuntimeError(f"a job {state}: {answer.json()['error']}")
            await asyncio.sleep(max(POLL_SECONDS, POLL_SHARE * (time.perf_counter() - begun)))


async def found(http: httpx.AsyncClient, text: Text) -> bool:
    """Return whether a search finds the document."""
    query = " ".join(text.content.split()[:8])
    asked = {"query": query, "mode": "keyword", "filters": {"external_id": text.external_id}, "limit": 1}
    answer = await http.post("/api/search", content=msgspec.json.encode(asked), headers=JSON)
    answer.raise_for_status()
    return bool(answer.json()["results"])


async def open_jobs(tenant: Tenant) -> bool:
    """Return whether any job of the tenant is not over."""
    # First queued, then running: a job that is taken between the two questions is still seen.
    return any([await _any(tenant, "queued"), await _any(tenant, "running")])


async def _any(tenant: Tenant, state: JobStateName) -> bool:
    page = await tenant.client.list_jobs(state=state, limit=1)
    return bool(page.jobs)


@asynccontextmanager
async def imported(tenant: Tenant, texts: Sequence[Text]) -> AsyncIterator[None]:
    """Let a tenant import documents; those that are still open at the end are cancelled."""
    await in_batches(tenant.http, texts)
    try:
        yield
    finally:
        more = True
        while more:
            answer = await tenant.http.post("/api/jobs/cancel", json={"collection": "default"})
            answer.raise_for_status()
            more = answer.json()["more"]
