"""Reading a batch of documents: what is wrong with one of them is told of it and does not harm the others."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from quarry_common.contracts.jobs import Priority
from quarry_common.errors import ErrorData, MalformedError, ValidationError
from quarry_gateway.forms.documents import DocumentForm, wrong_entries, wrong_sense
from quarry_gateway.forms.validation import check, decode_json, first_error, refuse, wrong_text

MAX_DOCUMENTS = 1000
MAX_EXAMINED = 50
"""Documents of which every wrong field is told; of further ones the first."""
MAX_ITEM_ERRORS = 10
_NUL_ESCAPE = b"\\u0000"


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Documents to be stored together. Each comes as for a single one, with its text in `content`."""

    documents: Annotated[list[DocumentForm], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    upsert: Annotated[
        bool, Meta(description="Replace the documents of the same external ids, where there are any.")
    ] = False
    priority: Priority = Priority.BULK


class _RawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same, its documents still to be read."""

    documents: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    upsert: bool = False
    priority: Priority = Priority.BULK


class _LooseBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same for telling what is wrong with it."""

    documents: Annotated[list[Any], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    upsert: bool = False
    priority: Priority = Priority.BULK


Form = DocumentForm | ErrorData
"""A document, or what is wrong with it."""


class BatchRequest(msgspec.Struct, frozen=True):
    """A batch that was read."""

    forms: list[Form]
    upsert: bool
    priority: Priority
    digest: bytes
    """SHA-256 of all that it asks for."""


async def read_batch(body: bytes) -> BatchRequest:
    """Return the batch in `body`.

    Raises `MalformedError` and `ValidationError` for what is wrong with the whole, not with a document in it.
    """
    batch = _raw(body)
    forms: list[Form] = []
    examined = 0
    for raw in batch.documents:
        form = _read(bytes(raw), examine=examined < MAX_EXAMINED)
        if isinstance(form, ErrorData):
            examined += 1
            await asyncio.sleep(0)  # what is wrong with many documents keeps nobody else waiting
        forms.append(form)
    # The order of members and what was left out make no other request of it.
    asked = [
        bytes(raw) if isinstance(form, ErrorData) else form
        for form, raw in zip(forms, batch.documents, strict=True)
    ]
    whole = msgspec.json.encode((asked, batch.upsert, batch.priority), order="deterministic")
    return BatchRequest(forms, batch.upsert, batch.priority, hashlib.sha256(whole).digest())


def _raw(body: bytes) -> _RawBatch:
    try:
        return msgspec.json.decode(body, type=_RawBatch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decode_json(body, _LooseBatch)
        raise MalformedError("The body is not JSON.") from None


def _read(raw: bytes, *, examine: bool) -> Form:
    try:
        if _NUL_ESCAPE not in raw:
            return _checked(msgspec.json.decode(raw, type=DocumentForm))
    except (msgspec.ValidationError, OverflowError):
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"The body is not JSON: {error}.") from None
    try:
        return _checked(_told(msgspec.json.decode(raw), examine=examine))
    except ValidationError as error:
        return _shortened(error.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"The body is not JSON: {error}.") from None


def _told(raw: object, *, examine: bool) -> DocumentForm:
    """Return the document. Raises `ValidationError` with all that is wrong with it, or with the first."""
    if examine and isinstance(raw, Mapping):
        return check(raw, DocumentForm, rules=wrong_entries)
    try:
        form = msgspec.convert(raw, DocumentForm)
    except (msgspec.ValidationError, OverflowError):
        refuse([first_error(raw, DocumentForm)])
        raise
    refuse(list(wrong_text(msgspec.structs.asdict(form))))
    return form


def _checked(form: DocumentForm) -> Form:
    try:
        refuse(wrong_sense(form, has_file=False))
    except ValidationError as error:
        return _shortened(error.data)
    return form


def _shortened(data: ErrorData) -> ErrorData:
    return msgspec.structs.replace(data, errors=data.errors[:MAX_ITEM_ERRORS])
