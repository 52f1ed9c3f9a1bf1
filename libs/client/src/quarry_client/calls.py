"""Every operation of the API as data: what is sent, and what type the answer has. No I/O happens here."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar, Unpack
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec

from quarry_client import types

T = TypeVar("T")


class FileUpload(msgspec.Struct, frozen=True):
    """A file on disk with its fields; it is opened anew for every attempt and streamed."""

    path: Path
    file_name: str
    form: dict[str, str]


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One request and the type of its answer; None means that the answer's body does not matter."""

    method: str
    path: str
    answer: type[T]
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes | FileUpload | None = None
    repeatable: bool = False
    """Whether sending it twice does no more than sending it once."""
    extra_seconds: float = 0.0
    """How much longer than usual the answer may take."""
    accepted_statuses: frozenset[int] = frozenset()
    """Statuses beside 2xx whose body is an answer and no problem."""


def create_document(
    *,
    content: str | None = None,
    external_id: str | None = None,
    collection: str | None = None,
    wait_seconds: float | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a new document of text; a taken external id is a conflict.

    With `wait_seconds` the answer comes when the document can be found, or when that time has passed.
    """
    body = _without_none({**fields, "content": content, "external_id": external_id, "collection": collection})
    return _post_document(msgspec.json.encode(body), wait_seconds, idempotency_key)


def create_file(
    path: Path,
    *,
    external_id: str | None = None,
    collection: str | None = None,
    file_name: str | None = None,
    wait_seconds: float | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a file as a new document; a taken external id is a conflict."""
    form = _form({**fields, "external_id": external_id, "collection": collection})
    return _post_document(FileUpload(path, file_name or path.name, form), wait_seconds, idempotency_key)


def put_document(
    external_id: str,
    *,
    content: str | None = None,
    collection: str | None = None,
    wait_seconds: float | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a document of text under its owner's own id; the same content again changes nothing."""
    body = msgspec.json.encode(_without_none({**fields, "content": content}))
    return _put_document(external_id, collection, body, wait_seconds)


def put_file(
    external_id: str,
    path: Path,
    *,
    collection: str | None = None,
    file_name: str | None = None,
    wait_seconds: float | None = None,
    **fields: Unpack[types.DocumentFields],
) -> Call[types.Accepted]:
    """Store a file under its owner's own id; the same content again changes nothing."""
    upload = FileUpload(path, file_name or path.name, _form({**fields}))
    return _put_document(external_id, collection, upload, wait_seconds)


def list_documents(
    *,
    collection: str | None = None,
    status: types.DocumentStatusName | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[types.DocumentPage]:
    """List documents, newest first."""
    params = _params(collection=collection, status=status, limit=limit, cursor=cursor)
    return Call("GET", "/api/documents", types.DocumentPage, params, repeatable=True)


def get_document(document_id: UUID) -> Call[types.Document]:
    """Read what is known of a document."""
    return Call("GET", f"/api/documents/{document_id}", types.Document, repeatable=True)


def delete_document(document_id: UUID) -> Call[None]:
    """Delete a document; it cannot be found when the answer is there."""
    return Call("DELETE", f"/api/documents/{document_id}", type(None), repeatable=True)


def list_jobs(
    *,
    state: types.JobStateName | None = None,
    document_id: UUID | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[types.JobPage]:
    """List jobs, newest first."""
    params = _params(state=state, document_id=document_id, limit=limit, cursor=cursor)
    return Call("GET", "/api/jobs", types.JobPage, params, repeatable=True)


def get_job(job_id: UUID) -> Call[types.Job]:
    """Read a job."""
    return Call("GET", f"/api/jobs/{job_id}", types.Job, repeatable=True)


def create_collection(name: str) -> Call[types.Collection]:
    """Create a collection."""
    return _post("/api/collections", {"name": name}, types.Collection)


def list_collections(*, limit: int = 50, cursor: str | None = None) -> Call[types.CollectionPage]:
    """List collections by name."""
    params = _params(limit=limit, cursor=cursor)
    return Call("GET", "/api/collections", types.CollectionPage, params, repeatable=True)


def get_collection(name: str) -> Call[types.Collection]:
    """Read a collection with its counts."""
    return Call("GET", f"/api/collections/{quote(name, safe='')}", types.Collection, repeatable=True)


def delete_collection(name: str) -> Call[None]:
    """Delete a collection and all that is in it."""
    return Call("DELETE", f"/api/collections/{quote(name, safe='')}", type(None), repeatable=True)


def search(
    query: str,
    *,
    mode: types.Mode = "hybrid",
    limit: int = 10,
    cursor: str | None = None,
    filters: types.Filter | None = None,
    group_by_document: bool = False,
    highlight: bool = False,
) -> Call[types.Answer]:
    """Find passages, best first; at most 100 at once."""
    body = {
        "query": query,
        "mode": mode,
        "limit": limit,
        "cursor": cursor,
        "filters": filters,
        "group_by_document": group_by_document,
        "highlight": highlight,
    }
    # A search is a POST only for its length: it changes nothing.
    return _post("/api/search", body, types.Answer, repeatable=True)


def create_key(
    name: str,
    *,
    scopes: list[str],
    label: types.KeyLabelName = "live",
    expires_at: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Call[types.CreatedKey]:
    """Make an API key; its secret is in this answer and nowhere else."""
    body = {"name": name, "scopes": scopes, "label": label, "expires_at": expires_at, "metadata": metadata}
    return _post("/api/keys", body, types.CreatedKey)


def list_keys(*, limit: int = 50, cursor: str | None = None) -> Call[types.KeyPage]:
    """List the tenant's keys without their secrets."""
    return Call("GET", "/api/keys", types.KeyPage, _params(limit=limit, cursor=cursor), repeatable=True)


def revoke_key(key_id: UUID) -> Call[None]:
    """Have a key refused from now on."""
    return Call("DELETE", f"/api/keys/{key_id}", type(None), repeatable=True)


def create_tenant(slug: str, name: str) -> Call[types.Tenant]:
    """Create a tenant; asks for the operator's key."""
    return _post("/api/admin/tenants", {"slug": slug, "name": name}, types.Tenant)


def list_tenants(*, limit: int = 50, cursor: str | None = None) -> Call[types.TenantPage]:
    """List tenants in the order of their creation; asks for the operator's key."""
    params = _params(limit=limit, cursor=cursor)
    return Call("GET", "/api/admin/tenants", types.TenantPage, params, repeatable=True)


def health() -> Call[types.Health]:
    """Read how the installation and its dependencies are, also when it is unable to serve."""
    return Call("GET", "/api/health", types.Health, accepted_statuses=frozenset({503}))


def version() -> Call[types.Version]:
    """Read which release answers."""
    return Call("GET", "/api/version", types.Version, repeatable=True)


def _post(path: str, body: Mapping[str, object], answer: type[T], *, repeatable: bool = False) -> Call[T]:
    return Call("POST", path, answer, body=msgspec.json.encode(_without_none(body)), repeatable=repeatable)


def _post_document(
    body: bytes | FileUpload, wait_seconds: float | None, idempotency_key: str | None
) -> Call[types.Accepted]:
    return Call(
        "POST",
        "/api/documents",
        types.Accepted,
        _wait_params(wait_seconds),
        headers={"Idempotency-Key": idempotency_key or str(uuid4())},
        body=body,
        repeatable=True,
        extra_seconds=wait_seconds or 0.0,
    )


def _put_document(
    external_id: str, collection: str | None, body: bytes | FileUpload, wait_seconds: float | None
) -> Call[types.Accepted]:
    return Call(
        "PUT",
        f"/api/documents/by-external-id/{quote(external_id, safe='/')}",
        types.Accepted,
        _params(collection=collection) | _wait_params(wait_seconds),
        body=body,
        repeatable=True,
        extra_seconds=wait_seconds or 0.0,
    )


def _wait_params(wait_seconds: float | None) -> dict[str, str]:
    if wait_seconds is None:
        return {}
    return {"wait": "searchable", "timeout_seconds": f"{wait_seconds:g}"}


def _params(**values: object) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _form(fields: Mapping[str, object]) -> dict[str, str]:
    """A form field holds text: what is no string travels as JSON."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in _without_none(fields).items()
    }
