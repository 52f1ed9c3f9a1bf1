"""Many documents in one request: stored in parts, accepted part by part.

Each part is one message to the indexer and one transaction there. What is wrong with a document is told of
it; an error that stops a part is told of all documents from there on.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from quarry_common.blobs import TenantBlobs
from quarry_common.contracts.documents import (
    ACCEPT_BATCH,
    MAX_BATCH,
    AcceptBatch,
    Accepted,
    BatchItem,
    BatchResult,
    BlobRef,
)
from quarry_common.errors import ErrorData, ForbiddenError, PayloadTooLargeError, QuarryError
from quarry_gateway.domain import Caller
from quarry_gateway.forms.batches import BatchRequest, Form
from quarry_gateway.forms.documents import DocumentForm, fields_of
from quarry_gateway.gateway import Gateway
from quarry_gateway.http.problems import ItemProblem, item_problem
from quarry_gateway.ingest.acceptance import delete_blobs, store_content, surely_refused
from quarry_gateway.ingest.uploads import upload_path

STORED_AT_ONCE = 16
MAX_PART_BYTES = 512 << 10
"""Fields of one part, as JSON: the message bus takes a megabyte."""
BLOB_BYTES = 400
"""What an item says of its body."""


class ItemStatus(StrEnum):
    """What became of a document."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    """Its content was there already; the job is the one that indexed it."""
    REJECTED = "rejected"


class ItemResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one document: where it is, or in `error` why it was not taken."""

    index: int
    """Its place in the request, from 0."""
    status: ItemStatus
    document_id: UUID | UnsetType = UNSET
    job_id: UUID | UnsetType = UNSET
    version: int | UnsetType = UNSET
    unchanged: bool | UnsetType = UNSET
    revision: int | UnsetType = UNSET
    error: ItemProblem | UnsetType = UNSET


class BatchReport(msgspec.Struct, frozen=True):
    """What became of the documents of a batch, in their order."""

    accepted: int
    unchanged: int
    rejected: int
    results: list[ItemResult]


async def take_in_batch(
    gateway: Gateway, caller: Caller, batch: BatchRequest, idempotency_key: str | None
) -> BatchReport:
    """Store the documents of `batch` and have the indexer accept them; tell what became of each.

    Raises what stopped the first part: then nothing was accepted. What stops a later one is told of the
    documents that are left.
    """
    forms = [_within_reach(form, caller) for form in batch.forms]
    results: dict[int, ItemResult] = {
        index: _rejected(index, form) for index, form in enumerate(forms) if isinstance(form, ErrorData)
    }
    failure: ErrorData | None = None
    for number, part in enumerate(_parts(forms)):
        if failure is None:
            key = None if idempotency_key is None else f"{idempotency_key}#{number}"
            try:
                # Once it is begun, a client that goes away must not leave its blobs unaccounted for.
                taking = asyncio.create_task(_take_part(gateway, caller, batch, part, key))
                found = await asyncio.shield(taking)
            except QuarryError as error:
                if error.data.code == PayloadTooLargeError.code:
                    # A part is as large as that only when a single document is.
                    results |= {index: _rejected(index, error.data) for index in part}
                    continue
                if not number:
                    raise
                failure = error.data
            else:
                results |= zip(part, map(_result, part, found), strict=True)
        if failure is not None:
            results |= {index: _rejected(index, failure) for index in part}
    return _report([results[index] for index in range(len(batch.forms))])


def _digest(batch: BatchRequest, caller: Caller) -> bytes:
    """Return what tells requests apart under an idempotency key: of two callers with another reach each takes
    other documents of the same body."""
    if caller.collections is None:
        return batch.digest
    return hashlib.sha256(batch.digest + msgspec.json.encode(sorted(caller.collections))).digest()


def _within_reach(form: Form, caller: Caller) -> Form:
    if isinstance(form, ErrorData):
        return form
    try:
        caller.require_collection(form.collection)
    except ForbiddenError as error:
        return error.data
    return form


def _parts(forms: Sequence[Form]) -> Iterator[dict[int, DocumentForm]]:
    """Yield the valid documents by their places, as many together as one message may hold."""
    part: dict[int, DocumentForm] = {}
    size_bytes = 0
    for index, form in enumerate(forms):
        if isinstance(form, ErrorData):
            continue
        item_bytes = len(msgspec.json.encode(fields_of(form))) + BLOB_BYTES
        if part and (len(part) == MAX_BATCH or size_bytes + item_bytes > MAX_PART_BYTES):
            yield part
            part, size_bytes = {}, 0
        part[index] = form
        size_bytes += item_bytes
    if part:
        yield part


async def _take_part(
    gateway: Gateway, caller: Caller, batch: BatchRequest, part: dict[int, DocumentForm], key: str | None
) -> list[BatchResult]:
    tenant_id = caller.tenant_id
    own = gateway.blobs.of(tenant_id)
    paths = {index: upload_path(tenant_id) for index in part}
    try:
        blobs = await _store(own, part, paths)
    except BaseException:
        await delete_blobs(own, list(paths.values()))
        raise
    items = [BatchItem(fields_of(form), blobs[index]) for index, form in part.items()]
    asked = AcceptBatch(
        tenant_id, items, batch.upsert, batch.priority, key, _digest(batch, caller), caller.room
    )
    stored = [path for index, path in paths.items() if blobs[index] is not None]
    try:
        results = (await gateway.ask(ACCEPT_BATCH, asked)).results
    except QuarryError as error:
        if surely_refused(error):
            await delete_blobs(own, stored)
        raise
    refused = [
        item.blob.path
        for item, result in zip(items, results, strict=True)
        if result.accepted is None and item.blob is not None
    ]
    await delete_blobs(own, refused)
    return results


async def _store(
    own: TenantBlobs, part: dict[int, DocumentForm], paths: dict[int, str]
) -> dict[int, BlobRef | None]:
    """Put the texts of a part into the blob store, a few at a time. Raises the first error of the store."""
    slots = asyncio.Semaphore(STORED_AT_ONCE)

    async def store(index: int, form: DocumentForm) -> BlobRef | None:
        async with slots:
            return await store_content(own, form, paths[index])

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {index: group.create_task(store(index, form)) for index, form in part.items()}
    except* QuarryError as errors:
        raise errors.exceptions[0] from None
    return {index: task.result() for index, task in tasks.items()}


def _result(index: int, result: BatchResult) -> ItemResult:
    accepted = result.accepted
    if accepted is None:
        return _rejected(index, result.error or QuarryError().data)
    return _accepted(index, accepted)


def _accepted(index: int, accepted: Accepted) -> ItemResult:
    return ItemResult(
        index,
        ItemStatus.UNCHANGED if accepted.unchanged else ItemStatus.ACCEPTED,
        accepted.document_id,
        accepted.job_id,
        accepted.version,
        accepted.unchanged,
        accepted.revision,
    )


def _rejected(index: int, data: ErrorData) -> ItemResult:
    return ItemResult(index, ItemStatus.REJECTED, error=item_problem(data))


def _report(results: list[ItemResult]) -> BatchReport:
    counts = {status: sum(result.status is status for result in results) for status in ItemStatus}
    return BatchReport(
        counts[ItemStatus.ACCEPTED], counts[ItemStatus.UNCHANGED], counts[ItemStatus.REJECTED], results
    )
