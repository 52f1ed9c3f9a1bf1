"""Writing documents that are taken in: their next versions, with jobs and messages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from quarry_common.contracts.commands import IndexDocument
from quarry_common.contracts.documents import Accepted
from quarry_common.contracts.events import DocumentUploaded, JobCancelled
from quarry_common.contracts.jobs import Priority
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection
from quarry_common.telemetry import tracing
from quarry_indexer import SERVICE
from quarry_indexer.handlers.admission import Taken
from quarry_indexer.repository import documents, jobs, versions
from quarry_indexer.repository.jobs import NewJob
from quarry_indexer.repository.versions import NewVersion


async def store(
    connection: Connection, tenant_id: UUID, taken: Sequence[Taken], priority: Priority
) -> dict[int, Accepted]:
    """Write next versions of documents that this transaction holds; return them by their places."""
    accepted: dict[int, Accepted] = {}
    for part in _parts(taken):
        accepted |= await _store(connection, tenant_id, part, priority)
    return accepted


def _parts(taken: Iterable[Taken]) -> list[list[Taken]]:
    """Of a document that stands there twice the later one is in a later part: it replaces the one before."""
    parts: list[list[Taken]] = []
    seen: Counter[UUID] = Counter()
    for each in taken:
        if seen[each.asked.id] == len(parts):
            parts.append([])
        parts[seen[each.asked.id]].append(each)
        seen[each.asked.id] += 1
    return parts


async def _store(
    connection: Connection, tenant_id: UUID, taken: Sequence[Taken], priority: Priority
) -> dict[int, Accepted]:
    told = await _supersede(connection, [each.asked.id for each in taken])
    trace = tracing.traceparent()
    new = [_version(each) for each in taken]
    made = [_job(each, priority, trace) for each in taken]
    await documents.advance(connection, [(version.document_id, version.version) for version in new])
    await versions.create(connection, tenant_id, new)
    await jobs.create(connection, tenant_id, made)
    told += [Message(_uploaded(version, job)) for version, job in zip(new, made, strict=True)]
    told.append(Message(IndexDocument(made[0].id)))
    await publish(connection, told, service=SERVICE, tenant_id=tenant_id)
    return {
        each.asked.place: Accepted(each.asked.id, job.id, each.version, revision=each.revision)
        for each, job in zip(taken, made, strict=True)
    }


async def _supersede(connection: Connection, document_ids: Sequence[UUID]) -> list[Message]:
    """Give up versions that nobody has begun to index; they are not worth it any more.

    One that is being indexed goes on, so that a document which changes all the time is findable all the
    same.
    """
    cancelled = await jobs.cancel(
        connection, "replaced before it was begun", document_ids=document_ids, queued_only=True
    )
    if not cancelled:
        return []
    await versions.set_state(connection, [(job.document_id, job.version) for job in cancelled], "discarded")
    return [Message(JobCancelled(job.id, job.document_id, job.collection, job.attempt)) for job in cancelled]


def _version(taken: Taken) -> NewVersion:
    asked = taken.asked
    return NewVersion(asked.id, taken.version, asked.item.document, asked.item.blob, asked.digest)


def _job(taken: Taken, priority: Priority, trace: str) -> NewJob:
    fields, blob = taken.asked.item.document, taken.asked.item.blob
    return NewJob(
        id=new_id(),
        document_id=taken.asked.id,
        version=taken.version,
        collection=fields.collection,
        title=fields.title or (blob.file_name if blob else ""),
        size_bytes=taken.asked.size_bytes,
        priority=priority,
        traceparent=trace,
    )


def _uploaded(version: NewVersion, job: NewJob) -> DocumentUploaded:
    return DocumentUploaded(
        document_id=job.document_id,
        job_id=job.id,
        collection=job.collection,
        external_id=version.fields.external_id,
        version=job.version,
        title=job.title,
        size_bytes=job.size_bytes,
    )
