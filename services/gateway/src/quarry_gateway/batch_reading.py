"""Reading a batch of documents: what is wrong with one of them is told of it and does not harm the others."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from quarry_common.contracts.jobs import Priority
from quarry_common.errors import ErrorData, ValidationError
from quarry_gateway.forms import DocumentForm, wrong_entries, wrong_sense
from quarry_gateway.validation import check, decode_json, first_error, refuse, wrong_text

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


class _LooseBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same, whatever its documents are."""

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
    batch = _well_typed(body)
    if batch is not None:
        forms = [_checked(form) for form in batch.documents]
        # The order of members and what was left out make no other request of it.
        asked = msgspec.json.encode(batch, order="deterministic")
        return BatchRequest(forms, batch.upsert, batch.priority, hashlib.sha256(asked).digest())
    loose = decode_json(body, _LooseBatch) if _NUL_ESCAPE not in body else _with_nul(body)
    forms = []
    examined = 0
    for raw in loose.documents:
        form = _read(raw, examine=examined < MAX_EXAMINED)
        examined += isinstance(form, ErrorData)
        forms.append(form)
        await asyncio.sleep(0)  # what is wrong with many documents keeps nobody else waiting
    return BatchRequest(forms, loose.upsert, loose.priority, hashlib.sha256(body).digest())


def _well_typed(body: bytes) -> Batch | None:
    """Return the batch when all its documents are of the right types, in one pass."""
    if _NUL_ESCAPE in body:
        return None
    try:
        return msgspec.json.decode(body, type=Batch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return None


def _with_nul(body: bytes) -> _LooseBatch:
    """Return the batch in a body that may hold U+0000: in its documents it is for them to be refused."""
    try:
        return msgspec.json.decode(body, type=_LooseBatch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return decode_json(body, _LooseBatch)


def _read(raw: object, *, examine: bool) -> Form:
    try:
        if not examine or not isinstance(raw, Mapping):
            return _converted(raw)
        form = check(raw, DocumentForm, rules=wrong_entries)
    except ValidationError as error:
        return _shortened(error.data)
    return _checked(form)


def _converted(raw: object) -> Form:
    """Return the document, or the first thing that is wrong with it: one look, however large it is."""
    try:
        form = msgspec.convert(raw, DocumentForm)
    except (msgspec.ValidationError, OverflowError):
        refuse([first_error(raw, DocumentForm)])
        raise
    refuse(list(wrong_text(msgspec.structs.asdict(form))))
    return _checked(form)


def _checked(form: DocumentForm) -> Form:
    try:
        refuse(wrong_sense(form, has_file=False))
    except ValidationError as error:
        return _shortened(error.data)
    return form


def _shortened(data: ErrorData) -> ErrorData:
    return msgspec.structs.replace(data, errors=data.errors[:MAX_ITEM_ERRORS])
