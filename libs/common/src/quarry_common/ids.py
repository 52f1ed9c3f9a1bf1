"""Identifiers: time-ordered UUIDv7 for what is created, UUIDv5 for what competing writers must agree on."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import uuid_utils.compat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NAMESPACE = UUID("6f0d9d4e-5d0c-5f3e-9b1a-6a7f2c1e8b55")
"""Root of every name-based id of Quarry (RFC 9562, version 5)."""


def new_id() -> UUID:
    """Return a new UUIDv7; ids made later by one process sort later."""
    return uuid_utils.compat.uuid7()


def time_of(made: UUID) -> datetime:
    """Return when a UUIDv7 was made, to the millisecond. Raises `ValueError` for another kind of UUID."""
    if made.version != 7:
        raise ValueError(f"{made} is no UUID of version 7")
    return _EPOCH + timedelta(milliseconds=made.int >> 80)


def document_id_for(tenant_id: UUID, collection: str, external_id: str) -> UUID:
    """Return the id of the document that a tenant knows by `external_id` in `collection`."""
    return uuid5(NAMESPACE, f"document\0{tenant_id}\0{collection}\0{external_id}")


def chunk_id_for(document_id: UUID, version: int, ordinal: int) -> UUID:
    """Return the id of a document version's chunk, which is also its point id in the vector index."""
    return uuid5(document_id, f"chunk\0{version}\0{ordinal}")
