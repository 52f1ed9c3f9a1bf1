"""Collections: named sets of a tenant's documents."""

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from quarry_common.contracts.collections import (
    CREATE_COLLECTION,
    DELETE_COLLECTION,
    GET_COLLECTION,
    LIST_COLLECTIONS,
    Collection,
    CollectionDeleted,
    CollectionName,
    CollectionPage,
    CollectionRef,
    CreateCollection,
    ListCollections,
)
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.bodies import read_json
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.operations import Operation, declare
from quarry_gateway.paging import PageQuery
from quarry_gateway.validation import check, decode_query

TAG = "Collections"


class NewCollection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collection to be made."""

    name: CollectionName


class _NameInPath(msgspec.Struct, frozen=True):
    name: CollectionName


@post(
    "/api/collections",
    opt=declare(
        Operation(
            access=Scope.COLLECTIONS_WRITE,
            tag=TAG,
            summary="Create a collection",
            body=NewCollection,
            body_example={"name": "contracts"},
            replies={201: Collection},
            errors=(409, 429),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def create_collection(request: Call) -> Response[bytes]:
    """Make a collection and answer it."""
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    body = await read_json(request, NewCollection)
    made = await gateway_of(request).ask(CREATE_COLLECTION, CreateCollection(tenant_id, body.name, key))
    return reply(made, 201, location=f"/api/collections/{made.name}")


@get(
    "/api/collections",
    opt=declare(
        Operation(
            access=Scope.COLLECTIONS_READ,
            tag=TAG,
            summary="List collections by name",
            query=PageQuery,
            replies={200: CollectionPage},
        )
    ),
)
async def list_collections(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's collections."""
    query = decode_query(request.scope["query_string"], PageQuery)
    asked = ListCollections(request.auth.tenant_id, query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_COLLECTIONS, asked))


@get(
    "/api/collections/{name:str}",
    opt=declare(
        Operation(
            access=Scope.COLLECTIONS_READ,
            tag=TAG,
            summary="Read a collection",
            replies={200: Collection},
            errors=(404,),
        )
    ),
)
async def get_collection(request: Call, name: FromPath[str]) -> Response[bytes]:
    """Answer one collection."""
    return reply(await gateway_of(request).ask(GET_COLLECTION, _named(request, name)))


@delete(
    "/api/collections/{name:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.COLLECTIONS_WRITE,
            tag=TAG,
            summary="Delete a collection and every document in it",
            replies={200: CollectionDeleted},
            errors=(404, 409),
        )
    ),
)
async def delete_collection(request: Call, name: FromPath[str]) -> Response[bytes]:
    """Delete a collection; nothing of it is found any more when the answer comes."""
    return reply(await gateway_of(request).ask(DELETE_COLLECTION, _named(request, name)))


def _named(request: Call, name: str) -> CollectionRef:
    return CollectionRef(request.auth.tenant_id, check({"name": name}, _NameInPath).name)


HANDLERS = [create_collection, list_collections, get_collection, delete_collection]
