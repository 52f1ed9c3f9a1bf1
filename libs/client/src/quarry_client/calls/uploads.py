"""Documents taken in: one by one, and many at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Unpack
from urllib.parse import quote

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, FileUpload, condition, keyed, params_of, post, without_none

_PART_DOCUMENTS: Final = 100
"""So many documents of a batch are stored together, one part after the other."""
_PART_SECONDS: Final = 10.0
"""How long storing one part may take."""


def create_document(
    *,
    content: str | None = None,
    external_id: str | None = None,
    collection: str | None = None,
    priority: types.PriorityName | None = None,
    wait_seconds: float | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a new document of text; a taken external id is a conflict.

    With `wait_seconds` the answer comes when the document can be found, or when that time has passed.
    """
    body = without_none({**fields, "content": content, "external_id": external_id, "collection": collection})
    return _post_document(msgspec.json.encode(body), priority, wait_seconds, idempotency_key)


def create_file(
    path: Path,
    *,
    external_id: str | None = None,
    collection: str | None = None,
    file_name: str | None = None,
    priority: types.PriorityName | None = None,
    wait_seconds: float | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a file as a new document; a taken external id is a conflict."""
    form = _form({**fields, "external_id": external_id, "collection": collection})
    upload = FileUpload(path, file_name or path.name, form)
    return _post_document(upload, priority, wait_seconds, idempotency_key)


def put_document(
    external_id: str,
    *,
    content: str | None = None,
    collection: str | None = None,
    priority: types.PriorityName | None = None,
    if_match: int | None = None,
    only_create: bool = False,
    wait_seconds: float | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a document of text under its owner's own id; the same content again changes nothing.

    It happens only to the revision `if_match` of the document, or with `only_create` if there is none yet.
    """
    body = msgspec.json.encode(without_none({**fields, "content": content}))
    headers = _condition(if_match, only_create=only_create)
    return _put_document(external_id, collection, body, priority, wait_seconds, headers)


def put_file(
    external_id: str,
    path: Path,
    *,
    collection: str | None = None,
    file_name: str | None = None,
    priority: types.PriorityName | None = None,
    if_match: int | None = None,
    only_create: bool = False,
    wait_seconds: float | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a file under its owner's own id; the same content again changes nothing.

    It happens only to the revision `if_match` of the document, or with `only_create` if there is none yet.
    """
    upload = FileUpload(path, file_name or path.name, _form({**fields}))
    headers = _condition(if_match, only_create=only_create)
    return _put_document(external_id, collection, upload, priority, wait_seconds, headers)


def put_documents(
    documents: Sequence[types.NewDocument],
    *,
    upsert: bool = True,
    priority: types.PriorityName = "bulk",
    idempotency_key: str | None = None,
) -> Call[types.BatchReport]:
    """Store up to 1000 documents of text in one request; the answer tells of each.

    With `upsert` those of an external id that is there are replaced, unless their content is the same.
    """
    body = {
        "documents": [without_none({**document}) for document in documents],
        "upsert": upsert,
        "priority": priority,
    }
    parts = -(-len(documents) // _PART_DOCUMENTS)
    return post(
        "/api/documents/batch",
        body,
        types.BatchReport,
        idempotency_key=idempotency_key,
        extra_seconds=parts * _PART_SECONDS,
    )


def place(external_id: str) -> str:
    """Return the path of the document that its owner knows by `external_id`."""
    return f"/api/documents/by-external-id/{quote(external_id, safe='/')}"


def _post_document(
    body: bytes | FileUpload,
    priority: types.PriorityName | None,
    wait_seconds: float | None,
    idempotency_key: str | None,
) -> Call[types.Accepted]:
    return Call(
        "POST",
        "/api/documents",
        types.Accepted,
        params_of(priority=priority) | _wait_params(wait_seconds),
        headers=keyed(idempotency_key),
        body=body,
        repeatable=True,
        extra_seconds=wait_seconds or 0.0,
    )


def _put_document(
    external_id: str,
    collection: str | None,
    body: bytes | FileUpload,
    priority: types.PriorityName | None,
    wait_seconds: float | None,
    headers: dict[str, str],
) -> Call[types.Accepted]:
    # What was done under a condition must not be refused when it is sent again.
    key = keyed(None) if headers else {}
    return Call(
        "PUT",
        place(external_id),
        types.Accepted,
        params_of(collection=collection, priority=priority) | _wait_params(wait_seconds),
        headers=headers | key,
        body=body,
        repeatable=True,
        extra_seconds=wait_seconds or 0.0,
    )


def _condition(if_match: int | None, *, only_create: bool) -> dict[str, str]:
    return {"If-None-Match": "*"} if only_create else condition(if_match)


def _wait_params(wait_seconds: float | None) -> dict[str, str]:
    if wait_seconds is None:
        return {}
    return {"wait": "searchable", "timeout_seconds": f"{wait_seconds:g}"}


def _form(fields: Mapping[str, object]) -> dict[str, str]:
    """A form field holds text: what is no string travels as JSON."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in without_none(fields).items()
    }
