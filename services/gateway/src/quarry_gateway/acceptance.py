"""Taking a document in: body into the blob store, acceptance by the indexer, and waiting for the outcome.

Between the two a blob may be left that no row names; it is deleted here when acceptance is known to have
failed, and left for the sweep when that is not known.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.documents import (
    ACCEPT,
    GET_JOB,
    Accept,
    Accepted,
    BlobRef,
    DocumentFields,
    Job,
    JobRef,
)
from quarry_common.errors import (
    DeadlineExceededError,
    FieldError,
    QuarryError,
    RemoteError,
    UnavailableError,
    ValidationError,
)
from quarry_gateway.bodies import JSON, MIB, MULTIPART, Body, content_type, read_json
from quarry_gateway.gateway import Call, Gateway, gateway_of
from quarry_gateway.problems import UnsupportedMediaTypeError
from quarry_gateway.uploads import FORM_OVERHEAD_BYTES, FormReader, upload_path
from quarry_gateway.validation import check, refuse, wrong_metadata

log = logging.getLogger(__name__)

FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.5
CLEANUP_SECONDS = 5.0
_MEDIA_TYPES = {
    "markdown": "text/markdown",
    "md": "text/markdown",
    "html": "text/html",
    "json": "application/json",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "rst": "text/x-rst",
    "org": "text/x-org",
    "rtf": "application/rtf",
    "xml": "application/xml",
}


class DocumentForm(DocumentFields, frozen=True, forbid_unknown_fields=True):
    """A document as its owner sends it: what is said of it, and its text when no file comes with it."""

    content: Annotated[str, Meta(description="The text itself; leave it out when a file is sent.")] | None = (
        None
    )


class Received(msgspec.Struct, frozen=True):
    """A document whose body is in the blob store."""

    document: DocumentFields
    blob: BlobRef | None


async def take_in(request: Call, *, target: DocumentFields | None = None) -> Accepted:
    """Store the body of `request` and have the indexer accept it.

    `target` names collection and external id of the document to be replaced, when it is an upsert. Raises
    whatever is wrong with the request, and what the indexer or the stores raise; then nothing is half-done.
    """
    gateway = gateway_of(request)
    tenant_id = request.auth.tenant_id
    idempotency_key = _idempotency_key(request)
    path = upload_path(tenant_id)
    try:
        received = await _receive(request, gateway, path)
        document = _aimed(received.document, target)
    except BaseException:
        await _delete(gateway, path)
        raise
    asked = Accept(tenant_id, document, received.blob, target is not None, idempotency_key)
    # Once the request for acceptance is out, a client that goes away must not leave its blob unaccounted for.
    return await asyncio.shield(asyncio.create_task(_accept(gateway, asked, path)))


async def _accept(gateway: Gateway, asked: Accept, path: str) -> Accepted:
    try:
        return await gateway.ask(ACCEPT, asked)
    except QuarryError as error:
        if _surely_refused(error):
            await _delete(gateway, path)
        raise


def _surely_refused(error: QuarryError) -> bool:
    if isinstance(error, RemoteError):
        return error.data.status < 500
    return isinstance(error, UnavailableError) and not isinstance(error, DeadlineExceededError)


async def _receive(request: Call, gateway: Gateway, path: str) -> Received:
    kind, options = content_type(request)
    if kind == JSON:
        form = await read_json(request, DocumentForm, _wrong_entries)
        blob = None
    elif kind == MULTIPART:
        form, blob = await _read_form(request, gateway, options.get("boundary", ""), path)
    else:
        raise UnsupportedMediaTypeError(f"A document comes as {JSON} or {MULTIPART}.")
    _require_sense(form, has_file=blob is not None)
    if form.content is not None and blob is None:
        blob = await _store_content(gateway, form, path)
    return Received(_fields(form), blob)


async def _read_form(
    request: Call, gateway: Gateway, boundary: str, path: str
) -> tuple[DocumentForm, BlobRef | None]:
    settings = gateway.settings
    max_file_bytes = settings.max_upload_mb * MIB
    max_content_bytes = settings.max_json_mb * MIB
    limit = max_file_bytes + max_content_bytes + FORM_OVERHEAD_BYTES
    reader = FormReader(Body(request, max_bytes=limit), boundary, max_content_bytes=max_content_bytes)
    read = await reader.read(gateway.blobs, path, max_file_bytes=max_file_bytes)
    reader.refuse_errors()
    return check(read.fields, DocumentForm, rules=_wrong_entries), read.blob


async def _store_content(gateway: Gateway, form: DocumentForm, path: str) -> BlobRef | None:
    content = form.content or ""
    if not content.strip():
        return None
    stored = await gateway.blobs.put_text(path, content)
    declared = _MEDIA_TYPES.get((form.doc_type or "").lower(), "text/plain")
    return BlobRef(stored.path, stored.size_bytes, stored.sha256, declared_type=declared)


def _wrong_entries(raw: Mapping[str, object]) -> Iterable[FieldError]:
    metadata = raw.get("metadata")
    return wrong_metadata(metadata) if isinstance(metadata, dict) else ()


def _require_sense(form: DocumentForm, *, has_file: bool) -> None:
    errors = list(wrong_metadata(form.metadata))
    if has_file and form.content is not None:
        errors.append(FieldError("content", "must be left out when a file is sent"))
    if not has_file and not form.title.strip() and not (form.content or "").strip():
        errors.append(FieldError("content", "is missing; a document needs a title, a content or a file"))
    refuse(errors)


def _fields(form: DocumentForm) -> DocumentFields:
    names = (field.name for field in msgspec.structs.fields(DocumentFields))
    return DocumentFields(**{name: getattr(form, name) for name in names})


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


def _idempotency_key(request: Call) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise ValidationError(
            "The idempotency key is not valid.",
            errors=[FieldError("Idempotency-Key", "must be 1 to 255 printable ASCII characters")],
        )
    return key


async def _delete(gateway: Gateway, path: str) -> None:
    """Remove the blob of a document that was not taken in, also while being cancelled; it may not exist."""

    async def remove() -> None:
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                await gateway.blobs.delete(path)
        except (QuarryError, TimeoutError):
            log.warning("an upload was left for the sweep", extra={"blob": path})

    await asyncio.shield(asyncio.create_task(remove()))


async def outcome(gateway: Gateway, tenant_id: UUID, job_id: UUID, seconds: float) -> Job:
    """Return the job once it is final; as it is then when `seconds` are over or the gateway stops."""
    until = time.monotonic() + seconds
    pause = FIRST_POLL_SECONDS
    while True:
        job = await gateway.ask(GET_JOB, JobRef(tenant_id, job_id))
        left = until - time.monotonic()
        if job.state.final or left <= 0 or gateway.readiness.stopping:
            return job
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
