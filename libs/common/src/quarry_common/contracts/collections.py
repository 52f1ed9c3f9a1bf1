"""Collections: `rpc.v1.indexer.*_collection*`."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.rpc import RpcMethod

DEFAULT_COLLECTION = "default"
"""The collection that every tenant has."""

CollectionName = Annotated[
    str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$(?!\n)", examples=["default"])
]


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents of one tenant, indexed by one embedder."""

    id: UUID
    name: str
    embedder_id: str
    document_count: int
    chunk_count: int
    created_at: datetime


class CollectionRef(msgspec.Struct, frozen=True):
    """Names a collection."""

    tenant_id: UUID
    name: CollectionName


class CreateCollection(msgspec.Struct, frozen=True):
    """Asks for a new collection. `idempotency_key` makes a repetition give the first answer."""

    tenant_id: UUID
    name: CollectionName
    idempotency_key: str | None = None


class ListCollections(msgspec.Struct, frozen=True):
    """Asks for a tenant's collections by name."""

    tenant_id: UUID
    limit: int = 50
    cursor: str | None = None


class CollectionPage(msgspec.Struct, frozen=True):
    """Some collections and where to go on."""

    collections: list[Collection]
    next_cursor: str | None = None


class CollectionDeleted(msgspec.Struct, frozen=True):
    """A collection and all that was in it cannot be found any more."""

    name: str
    documents: int


CREATE_COLLECTION = RpcMethod("indexer", "create_collection", CreateCollection, Collection)
GET_COLLECTION = RpcMethod("indexer", "get_collection", CollectionRef, Collection)
LIST_COLLECTIONS = RpcMethod("indexer", "list_collections", ListCollections, CollectionPage)
DELETE_COLLECTION = RpcMethod("indexer", "delete_collection", CollectionRef, CollectionDeleted)
