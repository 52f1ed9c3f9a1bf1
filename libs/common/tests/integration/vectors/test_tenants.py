"""A tenant's points in all collections."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from quarry_common.settings import QdrantSettings
from quarry_common.vectors.connection import Qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.tenants import TenantPoints

from .conftest import DIMENSIONS, MakeChunk, make_chunk


@pytest.fixture
async def former(qdrant: Qdrant, settings: QdrantSettings) -> AsyncIterator[VectorIndex]:
    """The index of an embedder that ran before."""
    made = VectorIndex(qdrant, settings, embedder_id="former@embedder", dimensions=DIMENSIONS)
    await made.ensure()
    yield made
    await qdrant.client.delete_collection(made.collection)


async def test_points_go_piece_by_piece_from_the_collections_of_all_embedders(
    qdrant: Qdrant, index: VectorIndex, former: VectorIndex, tenant: UUID, chunk: MakeChunk
) -> None:
    points, other = TenantPoints(qdrant), uuid4()
    await index.upsert_inactive([chunk() for _ in range(3)] + [make_chunk(other)])
    await former.upsert_inactive([chunk() for _ in range(2)])
    assert await points.count(tenant) == 5

    pieces = [await points.delete(tenant, 2) for _ in range(4)]

    assert sum(pieces) == 5
    assert max(pieces) == 2
    assert pieces[-1] == await points.count(tenant) == 0
    assert await points.count(other) == 1
