"""Taking a document in: body into the blob store, acceptance by the indexer, and waiting for the outcome.

Between the two a blob may be left that no row names; it is deleted here when acceptance is known to have
failed, and left for the sweep when that is not known.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec

from quarry_common.blobs import TenantBlobs
from quarry_common.contracts.documents import (
    ACCEPT,
    Accept,
    Accepted,
    BlobRef,
    Condition,
    DocumentFields,
)
from quarry_common.contracts.jobs import GET_JOB, Job, JobRef, Priority
from quarry_common.errors import DeadlineExceededError, FieldError, QuarryError, RemoteError
from quarry_gateway.domain import job_of
from quarry_gateway.forms.documents import DocumentForm, declared_type, fields_of, wrong_entries, wrong_sense
from quarry_gateway.forms.validation import check, refuse
from quarry_gateway.gateway import Call, Gateway, gateway_of
from quarry_gateway.http.bodies import JSON, MIB, MULTIPART, Body, content_type, read_json
from quarry_gateway.http.idempotency import idempotency_key
from quarry_gateway.http.problems import UnsupportedMediaTypeError
from quarry_gateway.ingest.uploads import FORM_OVERHEAD_BYTES, FormReader, clean_file_name, upload_path

log = logging.getLogger(__name__)

FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.5
CLEANUP_SECONDS = 5.0


class Received(msgspec.Struct, frozen=True):
    """A document whose body is in the blob store."""

    document: DocumentFields
    blob: BlobRef | None


async def take_in(
    request: Call,
    priority: Priority,
    *,
    target: DocumentFields | None = None,
    condition: Condition | None = None,
) -> Accepted:
    """Store the body of `request` and have the indexer accept it.

    `target` names collection and external id of the document to be replaced, when it is an upsert, and
    `condition` what must be true of it. Raises whatever is wrong with the request, and what the indexer or
    the stores raise; then nothing is half-done.
    """
    gateway = gateway_of(request)
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    path = upload_path(tenant_id)
    try:
        received = await _receive(request, gateway, path)
        document = _aimed(received.document, target)
        request.auth.require_collection(document.collection)
    except BaseException:
        await delete_blobs(gateway.blobs.of(tenant_id), [path])
        raise
    upsert = target is not None
    asked = Accept(tenant_id, document, received.blob, upsert, priority, condition, key, request.auth.room)
    # Once the request for acceptance is out, a client that goes away must not leave its blob unaccounted for.
    return await asyncio.shield(asyncio.create_task(_accept(gateway, asked, path)))


async def _accept(gateway: Gateway, asked: Accept, path: str) -> Accepted:
    try:
        return await gateway.ask(ACCEPT, asked)
    except QuarryError as error:
        if surely_refused(error):
            await delete_blobs(gateway.blobs.of(asked.tenant_id), [path])
        raise


def surely_refused(error: QuarryError) -> bool:
    """Whether nothing was accepted, given that the indexer was asked and this came of it."""
    if isinstance(error, RemoteError):
        return error.data.status < 500
    # What did not even leave, or found nobody who would take it.
    return not isinstance(error, DeadlineExceededError)


async def _receive(request: Call, gateway: Gateway, path: str) -> Received:
    kind, options = content_type(request)
    if kind == JSON:
        form = await read_json(request, DocumentForm, wrong_entries)
        blob = None
    elif kind == MULTIPART:
        form, blob = await _read_form(request, gateway, options.get("boundary", ""), path)
    else:
        raise UnsupportedMediaTypeError(f"A document comes as {JSON} or {MULTIPART}.")
    refuse(wrong_sense(form, has_file=blob is not None))
    if blob is None:
        blob = await store_content(gateway.blobs.of(request.auth.tenant_id), form, path)
    return Received(fields_of(form), blob)


async def _read_form(
    request: Call, gateway: Gateway, boundary: str, path: str
) -> tuple[DocumentForm, BlobRef | None]:
    settings = gateway.settings
    max_file_bytes = settings.max_upload_mb * MIB
    max_content_bytes = settings.max_json_mb * MIB
    limit = max_file_bytes + max_content_bytes + FORM_OVERHEAD_BYTES
    reader = FormReader(Body(request, max_bytes=limit), boundary, max_content_bytes=max_content_bytes)
    read = await reader.read(gateway.blobs.of(request.auth.tenant_id), path, max_file_bytes=max_file_bytes)
    reader.refuse_errors()
    return check(read.fields, DocumentForm, rules=wrong_entries), read.blob


async def store_content(blobs: TenantBlobs, form: DocumentForm, path: str) -> BlobRef | None:
    """Put the text of `form` at `path`; None when it has none. Raises `UnavailableError`."""
    content = form.content or ""
    if not content.strip():
        return None
    stored = await blobs.put_text(path, content)
    file_name = clean_file_name(form.file_name or "")
    return BlobRef(stored.path, stored.size_bytes, stored.sha256, file_name, declared_type(form))


def _aimed(document: DocumentFields, target: DocumentFields | None) -> DocumentFields:
    """Return `document` with the external id and collection that an upsert's address names."""
    if target is None:
        return document
    errors = []
    if document.external_id not in {None, target.external_id}:
        errors.append(FieldError("external_id", "differs from the one in the path; leave it out"))
    named = document.collection != DocumentFields().collection
    given = target.collection != DocumentFields().collection
    if named and given and document.collection != target.collection:
        errors.append(FieldError("collection", "differs from the one in the query; leave it out"))
    refuse(errors)
    collection = document.collection if named else target.collection
    return msgspec.structs.replace(document, external_id=target.external_id, collection=collection)


async def delete_blobs(blobs: TenantBlobs, paths: Sequence[str]) -> None:
    """Remove the blobs of what was not taken in, also while being cancelled; they may not exist."""

    async def remove() -> None:
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                for path in paths:
                    await blobs.delete(path)
        except (QuarryError, TimeoutError):
            log.warning("uploads were left for the sweep", extra={"blobs": len(paths)})

    await asyncio.shield(asyncio.create_task(remove()))


async def outcome(gateway: Gateway, tenant_id: UUID, job_id: UUID, seconds: float) -> Job:
    """Return the job once it is final; as it is then when `seconds` are over or the gateway stops."""
    until = time.monotonic() + seconds
    pause = FIRST_POLL_SECONDS
    while True:
        job = job_of(await gateway.ask(GET_JOB, JobRef(tenant_id, job_id)))
        left = until - time.monotonic()
        if job.state.final or left <= 0 or gateway.readiness.stopping:
            return job
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
