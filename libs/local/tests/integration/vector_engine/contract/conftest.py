"""The collection of the contract, empty and with its four points."""

from collections.abc import Callable

import pytest
from qdrant_client import AsyncQdrantClient, models

from .points import INDEXES, PAYLOADS, TERMS, VECTORS, sparse


@pytest.fixture
async def empty(client: AsyncQdrantClient, new_name: Callable[[], str]) -> str:
    """A collection with a dense and an IDF-weighted sparse vector."""
    name = new_name()
    await client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=16, ef_construct=64),
    )
    return name


@pytest.fixture
async def filled(client: AsyncQdrantClient, empty: str) -> str:
    """The collection with payload indexes and four points."""
    for field, schema in INDEXES.items():
        await client.create_payload_index(empty, field, schema, wait=True)
    await client.upsert(
        empty,
        [
            models.PointStruct(
                id=key, vector={"dense": VECTORS[key], "bm25": sparse(TERMS[key])}, payload=PAYLOADS[key]
            )
            for key in VECTORS
        ],
        wait=True,
    )
    return empty
