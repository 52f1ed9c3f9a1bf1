"""What somebody asks for while an import runs: a document to be gone, a job to be stopped."""

import asyncio
import os
import time
from collections.abc import Callable
from uuid import UUID

from benchmarks.documents import POLL_SECONDS, Text, found, imported, post, short, succeeded
from benchmarks.figures import Figure, Figures, percentile
from benchmarks.texts import Writer
from tests.platform import Platform, Tenant, until

IMPORTED = 1000
DELETED = 10
CANCELLED = 5
LONG_WORDS = 20_000
DEADLINE_SECONDS = 120.0
QUIET_SECONDS = 3.0
"""So long there must be no chunk before it is believed that none comes any more."""
UNFINDABLE_SECONDS = 1.0
CANCEL_SECONDS = 5.0
FINAL = frozenset({"succeeded", "failed", "cancelled"})


async def measure(platform: Platform, tell: Callable[[str], None]) -> Figures:
    """Delete documents and cancel jobs of a tenant that imports."""
    writer = Writer(seed=6)
    documents = [short(writer, f"deleted-{number}") for number in range(DELETED)]
    async with platform.tenant() as tenant:
        for job_id in [await post(tenant.http, text) for text in documents]:
            await succeeded(tenant.http, job_id, DEADLINE_SECONDS)
        tell(f"control: {DELETED} deletions and {CANCELLED} cancelled jobs during an import")
        async with imported(tenant, [short(writer, f"import-{number}") for number in range(IMPORTED)]):
            deletions = [await _delete(tenant, text) for text in documents]
            cancellations = [await _cancel(platform, tenant, writer, number) for number in range(CANCELLED)]
    answered, unfindable = [each[0] for each in deletions], [each[1] for each in deletions]
    final, gone = [each[0] for each in cancellations], [each[1] for each in cancellations]
    figures = [
        Figure("deletion answered after, p50", percentile(answered, 0.5) * 1000, "ms"),
        Figure("deletion answered after, at most", max(answered) * 1000, "ms"),
        Figure("not found any more after the answer, at most", max(unfindable), "s", UNFINDABLE_SECONDS),
        Figure("cancelled job is final after, at most", max(final), "s", CANCEL_SECONDS),
        Figure("no chunk of it is in the index after, at most", max(gone), "s", CANCEL_SECONDS),
    ]
    samples = {
        "deletion answered after, s": answered,
        "not found after the answer, s": unfindable,
        "cancelled job final after, s": final,
        "no chunk in the index after, s": gone,
    }
    return Figures("Control during an import", figures, samples, os.getloadavg()[0])


async def _delete(tenant: Tenant, text: Text) -> tuple[float, float]:
    """Return the seconds until the deletion was answered, and from then until no search finds the document:
    when the first one does not, nothing was found late."""
    if not await found(tenant.http, text):
        raise RuntimeError("a document that was to be deleted is not found before")
    document = (await tenant.http.get(f"/api/documents/by-external-id/{text.external_id}")).json()
    begun = time.perf_counter()
    (await tenant.http.delete(f"/api/documents/{document['id']}")).raise_for_status()
    answered = time.perf_counter()
    last = answered
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await found(tenant.http, text):
            last = time.perf_counter()
            await asyncio.sleep(POLL_SECONDS)
    return answered - begun, last - answered


async def _cancel(platform: Platform, tenant: Tenant, writer: Writer, number: int) -> tuple[float, float]:
    """Return the seconds from the request until the job is final, and until the index holds none of it."""
    topic = writer.topic()
    text = Text(f"cancelled-{number}", f"Cancelled {number}", writer.text(topic, LONG_WORDS))
    job_id = await post(tenant.http, text)

    async def under_way() -> dict[str, object] | None:
        job: dict[str, object] = (await tenant.http.get(f"/api/jobs/{job_id}")).json()
        if job["state"] in FINAL:
            raise RuntimeError(f"the job that was to be cancelled {job['state']}")
        return job if job["state"] == "running" and job["chunks_done"] else None

    job = await until(under_way, DEADLINE_SECONDS, "the job has written some chunks")
    begun = time.perf_counter()
    (await tenant.http.post(f"/api/jobs/{job_id}/cancel")).raise_for_status()

    async def final() -> bool:
        return bool((await tenant.http.get(f"/api/jobs/{job_id}")).json()["state"] == "cancelled")

    await until(final, DEADLINE_SECONDS, "the cancelled job is final")
    ended = time.perf_counter() - begun
    return ended, await _last_chunk(platform, tenant, UUID(str(job["document_id"]))) - begun


async def _last_chunk(platform: Platform, tenant: Tenant, document_id: UUID) -> float:
    """Return the moment from which on the index holds no chunk of a document, a late one neither."""
    collection = await tenant.client.get_collection("default")
    async with platform.index(collection.embedder_id) as index, asyncio.timeout(DEADLINE_SECONDS):
        last = time.perf_counter()
        while time.perf_counter() < last + QUIET_SECONDS:
            if await index.count(tenant.id, document_id):
                last = time.perf_counter()
            await asyncio.sleep(POLL_SECONDS)
    return last
