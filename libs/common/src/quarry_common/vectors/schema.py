"""The collection of one embedder: its vectors, its payload indexes, and its creation."""

import re

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from quarry_common.settings import QdrantSettings
from quarry_common.vectors.connection import READ_SECONDS, SCHEMA_SECONDS, call
from quarry_common.vectors.errors import EmbedderMismatchError, VectorIndexError
from quarry_common.vectors.points import DENSE, SPARSE

PREFIX = "chunks_"
"""Begins the name of each collection that holds an embedder's points."""

_KEYWORDS = (
    "document_id",
    "collection",
    "doc_type",
    "tags",
    "external_id",
    "source_url",
    "principals",
)
_FLAGS = ("active", "restricted")
_INTEGERS = ("version",)
_DATES = ("created_at", "updated_at")

_Index = (
    models.KeywordIndexParams
    | models.IntegerIndexParams
    | models.DatetimeIndexParams
    | models.UuidIndexParams
)

# A search is always within one tenant: only the tenants' points are linked to graphs. Every point that is
# looked at is compared with the tenant, and UUIDs are compared faster than text.
PAYLOAD_INDEXES: dict[str, _Index] = {
    "tenant_id": models.UuidIndexParams(type=models.UuidIndexType.UUID, is_tenant=True),
    **dict.fromkeys(
        _KEYWORDS, models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, enable_hnsw=False)
    ),
    # Compared, never ranged over: an index for ranges would only take time and memory.
    **dict.fromkeys(
        _FLAGS,
        models.IntegerIndexParams(
            type=models.IntegerIndexType.INTEGER, lookup=True, range=False, enable_hnsw=False
        ),
    ),
    **dict.fromkeys(
        _INTEGERS, models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, enable_hnsw=False)
    ),
    **dict.fromkeys(
        _DATES, models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME, enable_hnsw=False)
    ),
}


def collection_name(embedder_id: str) -> str:
    """Return the name of the collection that holds an embedder's points."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", embedder_id)


async def ensure_collection(
    client: AsyncQdrantClient, name: str, dimensions: int, settings: QdrantSettings
) -> None:
    """Create the collection and the payload indexes that are missing, and let its graphs be built anew when
    their settings have changed; raise as `check_dimensions` does.
    """
    if not await call("collection_exists", name, client.collection_exists(name), seconds=READ_SECONDS):
        await call(
            "create_collection", name, _create(client, name, dimensions, settings), seconds=SCHEMA_SECONDS
        )
    info = await call("get_collection", name, client.get_collection(name), seconds=READ_SECONDS)
    check_dimensions(name, info, dimensions)
    wanted, found = _graphs(settings), info.config.hnsw_config
    if (found.payload_m, found.ef_construct) != (wanted.payload_m, wanted.ef_construct):
        changed = client.update_collection(name, hnsw_config=wanted)
        await call("update_collection", name, changed, seconds=SCHEMA_SECONDS)
    for field, index in PAYLOAD_INDEXES.items():
        if field not in info.payload_schema:
            made = client.create_payload_index(name, field_name=field, field_schema=index, wait=True)
            await call("create_payload_index", name, made, seconds=SCHEMA_SECONDS)


def check_dimensions(name: str, info: models.CollectionInfo, dimensions: int) -> None:
    """Raise `EmbedderMismatchError` when the collection holds vectors of another length."""
    vectors = info.config.params.vectors
    dense = vectors.get(DENSE) if isinstance(vectors, dict) else None
    if dense is None or SPARSE not in (info.config.params.sparse_vectors or {}):
        raise VectorIndexError(f"Collection {name} was not made by Quarry: it lacks {DENSE} or {SPARSE}.")
    if dense.size != dimensions:
        raise EmbedderMismatchError(
            f"Collection {name} holds vectors of {dense.size} dimensions; the embedder makes {dimensions}."
        )


async def _create(client: AsyncQdrantClient, name: str, dimensions: int, settings: QdrantSettings) -> None:
    try:
        await client.create_collection(
            name,
            vectors_config={DENSE: models.VectorParams(size=dimensions, distance=models.Distance.COSINE)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=_graphs(settings),
        )
    except UnexpectedResponse as error:
        if error.status_code != 409:  # two that migrate at once: the other was faster
            raise


def _graphs(settings: QdrantSettings) -> models.HnswConfigDiff:
    # One graph per tenant and none over all: a search is always within one tenant.
    return models.HnswConfigDiff(m=0, payload_m=settings.hnsw_m, ef_construct=settings.hnsw_ef_construct)
