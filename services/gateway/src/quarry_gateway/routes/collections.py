"""Collections: named sets of a tenant's documents."""

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath

from quarry_common import cursors
from quarry_common.contracts.collections import (
    CREATE_COLLECTION,
    DELETE_COLLECTION,
    GET_COLLECTION,
    LIST_COLLECTIONS,
    UPDATE_COLLECTION,
    Collection,
    CollectionDeleted,
    CollectionName,
    CollectionPage,
    CollectionRef,
    CollectionSettings,
    CreateCollection,
    ListCollections,
    SettingsPatch,
    UpdateCollection,
)
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import RemoteError
from quarry_gateway.forms.validation import check, decode_query
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import JSON, MERGE_PATCH, read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Collections"
_OF_KEY = "collections-of-key"
"""The list of a limited key, as its cursors name it."""
PATCH_TYPES = (JSON, MERGE_PATCH)


class SettingsForm(CollectionSettings, frozen=True, forbid_unknown_fields=True):
    """How the documents of a collection are indexed and searched; what is left out is as the platform does
    it."""


class SettingsPatchForm(SettingsPatch, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of settings (RFC 7396): what is left out stays, null goes back to the platform's own way.

    Lists take the place of those before.
    """


class NewCollection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collection to be made."""

    name: CollectionName
    settings: SettingsForm = SettingsForm()


class CollectionPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a collection."""

    settings: SettingsPatchForm = SettingsPatchForm()


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
            body_example={"name": "contracts", "settings": {"language": "de", "title_boost": 2.0}},
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
    asked = CreateCollection(tenant_id, request.auth.require_collection(body.name), key, body.settings)
    gateway = gateway_of(request)
    made = await gateway.ask(CREATE_COLLECTION, asked)
    after = {"settings": msgspec.to_builtins(made.settings)}
    await gateway.audit.record(request.auth, "collection.created", made.name, after=after)
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
    if request.auth.collections is not None:
        return reply(await _within_reach(request, request.auth.collections, query))
    asked = ListCollections(request.auth.tenant_id, query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_COLLECTIONS, asked))


async def _within_reach(request: Call, names: frozenset[str], query: PageQuery) -> CollectionPage:
    """Return a page of the collections that a limited key is for; its cursor names no others."""
    after = cursors.decode(_OF_KEY, query.cursor) if query.cursor else ""
    left = sorted(name for name in names if name > after)
    found: list[Collection] = []
    for name in left[: query.limit]:
        try:
            ref = CollectionRef(request.auth.tenant_id, name)
            found.append(await gateway_of(request).ask(GET_COLLECTION, ref))
        except RemoteError as error:
            if error.data.status != 404:
                raise
    more = len(left) > query.limit
    return CollectionPage(found, cursors.encode(_OF_KEY, left[query.limit - 1]) if more else None)


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


@patch(
    "/api/collections/{name:str}",
    opt=declare(
        Operation(
            access=Scope.COLLECTIONS_WRITE,
            tag=TAG,
            summary="Change the settings of a collection",
            description=(
                "A merge patch (RFC 7396): what is left out stays, null goes back to the platform's own way. "
                "Searches follow at once. `chunk_tokens`, `chunk_overlap` and `title_boost` take effect as "
                "documents are indexed; `outdated_documents` counts those that were indexed with others. "
                "POST /api/documents/reindex brings them up to date."
            ),
            body=CollectionPatch,
            body_types=PATCH_TYPES,
            body_example={"settings": {"synonyms": [["notebook", "laptop"]], "title_boost": None}},
            replies={200: Collection},
            errors=(404,),
        )
    ),
)
async def update_collection(request: Call, name: FromPath[str]) -> Response[bytes]:
    """Change a collection's settings and answer it."""
    ref = _named(request, name)
    body = await read_json(request, CollectionPatch, kinds=PATCH_TYPES)
    asked = UpdateCollection(ref.tenant_id, ref.name, body.settings)
    gateway = gateway_of(request)
    before = await gateway.ask(GET_COLLECTION, ref)
    changed = await gateway.ask(UPDATE_COLLECTION, asked)
    await gateway.audit.record(
        request.auth,
        "collection.updated",
        ref.name,
        before={"settings": msgspec.to_builtins(before.settings)},
        after={"settings": msgspec.to_builtins(changed.settings)},
    )
    return reply(changed)


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
    gateway, ref = gateway_of(request), _named(request, name)
    deleted = await gateway.ask(DELETE_COLLECTION, ref)
    before = msgspec.to_builtins(deleted)
    await gateway.audit.record(request.auth, "collection.deleted", ref.name, before=before)
    return reply(deleted)


def _named(request: Call, name: str) -> CollectionRef:
    tenant_id = request.auth.tenant_id
    wanted = check({"name": name}, _NameInPath).name
    return CollectionRef(tenant_id, request.auth.require_collection(wanted))


HANDLERS = [create_collection, list_collections, get_collection, update_collection, delete_collection]
