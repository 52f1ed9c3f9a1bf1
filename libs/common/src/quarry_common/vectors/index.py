"""The vector index of one embedder. Nothing is read or written without a tenant."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from quarry_common.settings import QdrantSettings
from quarry_common.vectors import codes, feedback, filters
from quarry_common.vectors.connection import HELD_SECONDS, READ_SECONDS, WRITE_SECONDS, Qdrant, call
from quarry_common.vectors.filters import Scope, equals
from quarry_common.vectors.fusion import FusionWeights, fuse
from quarry_common.vectors.points import (
    ChunkPoint,
    CodedPassage,
    DenseVector,
    DocumentChange,
    Passage,
    attributes,
    change_payload,
    passage,
    point,
)
from quarry_common.vectors.queries import Candidate, Legs, Ranking, dense_leg, sparse_leg
from quarry_common.vectors.reads import Leg, Scored, Scroll
from quarry_common.vectors.schema import check_dimensions, collection_name, ensure_collection

POINTS_PER_REQUEST = 128
"""Small, because a store of one process answers no search while it takes a request in."""


PLACES_PER_REQUEST = 1000

_CHUNK_ID, _SCORE = attrgetter("chunk_id"), attrgetter("score")

VersionKey: TypeAlias = tuple[UUID, int]
"""A version of a document."""


class Place(msgspec.Struct, frozen=True):
    """Which version a point belongs to, and whether searches find it."""

    document_id: UUID
    version: int
    active: bool


class VectorIndex:
    """The points of one embedder's chunks.

    Every method raises `UnavailableError` or `DeadlineExceededError` when Qdrant does not do its part,
    `EmbedderMismatchError` when the embedder has no collection, `VectorIndexError` when Qdrant refuses.
    """

    def __init__(
        self, qdrant: Qdrant, settings: QdrantSettings, *, embedder_id: str, dimensions: int
    ) -> None:
        self._client = qdrant.client
        self._reads = qdrant.reads
        self._settings = settings
        self._dimensions = dimensions
        self.collection = collection_name(embedder_id)

    async def ensure(self) -> None:
        """Create what is missing of the embedder's collection; idempotent. `quarry migrate` calls it."""
        await ensure_collection(self._client, self.collection, self._dimensions, self._settings)

    async def check(self) -> None:
        """Raise when the index cannot serve the embedder; for readiness."""
        asked = self._client.get_collection(self.collection)
        info = await call("get_collection", self.collection, asked, seconds=READ_SECONDS)
        check_dimensions(self.collection, info, self._dimensions)

    async def upsert_inactive(self, points: Sequence[ChunkPoint]) -> None:
        """Store `points` where no search finds them yet; a chunk that is there already is left as it is.

        So a worker that comes late cannot hide what its successor has activated.
        """
        for start in range(0, len(points), POINTS_PER_REQUEST):
            part = [point(chunk, active=False) for chunk in points[start : start + POINTS_PER_REQUEST]]
            stored = self._client.upsert(
                self.collection, points=part, wait=True, update_mode=models.UpdateMode.INSERT_ONLY
            )
            await call("upsert", self.collection, stored, seconds=WRITE_SECONDS)

    async def activate(self, tenant_id: UUID, versions: Sequence[VersionKey]) -> None:
        """Let searches find versions of documents. Ends within ten seconds: rows are held meanwhile."""
        await self._set({"active": 1}, _versions(tenant_id, versions))

    async def update_payload(self, tenant_id: UUID, version: VersionKey, change: DocumentChange) -> None:
        """Give every point of a version its new metadata. Ends within ten seconds."""
        await self._set(change_payload(change), _versions(tenant_id, [version]))

    async def delete_versions(self, tenant_id: UUID, versions: Sequence[VersionKey]) -> None:
        """Delete the points of versions of documents. Ends within ten seconds."""
        await self._delete(_versions(tenant_id, versions), seconds=HELD_SECONDS)

    async def delete_below(self, tenant_id: UUID, document_id: UUID, version: int) -> None:
        """Delete the points of all versions of a document before `version`."""
        await self._delete(_points(tenant_id, document_id, below=version))

    async def delete_collection(self, tenant_id: UUID, collection: str) -> None:
        """Delete the points of a tenant's logical collection."""
        await self._delete(models.Filter(must=[*filters.tenant(tenant_id), equals("collection", collection)]))

    async def count(
        self,
        tenant_id: UUID,
        document_id: UUID | None = None,
        version: int | None = None,
        *,
        active: bool | None = None,
    ) -> int:
        """Return how many points there are, exactly."""
        chosen = _points(tenant_id, document_id, version=version, active=active)
        counted = self._client.count(self.collection, count_filter=chosen, exact=True)
        return (await call("count", self.collection, counted, seconds=READ_SECONDS)).count

    async def places(self, tenant_id: UUID) -> AsyncIterator[list[Place]]:
        """Yield where a tenant's points belong, page by page, in no order of documents."""
        offset: models.ExtendedPointId | None = None
        while True:
            asked = self._client.scroll(
                self.collection,
                scroll_filter=models.Filter(must=filters.tenant(tenant_id)),
                limit=PLACES_PER_REQUEST,
                offset=offset,
                with_payload=["document_id", "version", "active"],
                with_vectors=False,
            )
            records, offset = await call("scroll", self.collection, asked, seconds=READ_SECONDS)
            yield [msgspec.convert(record.payload, Place, strict=False) for record in records]
            if offset is None:
                return

    async def search(self, scope: Scope, legs: Legs, *, depth: int, documents: bool = False) -> Ranking:
        """Return the ranked list of what `legs` find within `scope`, best first.

        `documents` says whether candidates tell their document, which doubles what a search costs the index.

        One leg gives at most `depth` points with its own score (cosine, or BM25); two are fused into at most
        `2 * depth` with scores from 0 to 1, the best of them seen again where that helps (`feedback`): their
        passages are read for it, and come with the ranking. Equal scores are in the order of their ids.
        """
        dense, sparse = await _both(
            self._nearest(scope, legs, depth, documents=documents),
            self._matching(scope, legs, depth, documents=documents),
        )
        if legs.dense is None or legs.sparse is None:
            return Ranking(dense or sparse, dense, sparse)
        fused = _fused(legs.weights, dense, sparse)
        if sparse and feedback.helps(legs.weights, [found.score for found in fused[: feedback.PASSAGES]]):
            vector = await _vector(legs.dense)
            read = await self._read(scope, [each.chunk_id for each in fused[: feedback.PASSAGES]])
            vectors = {
                chunk_id: known
                for chunk_id, found in read.items()
                if (known := codes.decode(found.dense_code, self._dimensions)) is not None
            }
            fused = _seen_again(legs.weights, vector, vectors, fused, sparse)
            passages = {chunk_id: passage(found) for chunk_id, found in read.items()}
            return Ranking(fused, dense, sparse, passages)
        return Ranking(fused, dense, sparse)

    async def _nearest(self, scope: Scope, legs: Legs, depth: int, *, documents: bool) -> list[Candidate]:
        if legs.dense is None:
            return []
        vector = await _vector(legs.dense)
        hnsw_ef = self._settings.hnsw_ef_search
        return await self._ranked(dense_leg(scope, vector, depth, documents=documents, hnsw_ef=hnsw_ef))

    async def _matching(self, scope: Scope, legs: Legs, depth: int, *, documents: bool) -> list[Candidate]:
        if legs.sparse is None or not legs.sparse.indices:
            return []
        return await self._ranked(sparse_leg(scope, legs.sparse, depth, documents=documents))

    async def _ranked(self, leg: Leg) -> list[Candidate]:
        asked = self._reads.ranked(self.collection, leg)
        found = await call(f"query {leg.using}", self.collection, asked, seconds=READ_SECONDS)
        return _ranked(map(_candidate, found))

    async def attributes(
        self, scope: Scope, chunk_ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, Mapping[str, object]]:
        """Return entries of the payloads of those of `chunk_ids` that still are within `scope`.

        `fields` are names of entries; metadata comes under its own names.
        """
        found: dict[str, Mapping[str, object]] = {}
        for start in range(0, len(chunk_ids), PLACES_PER_REQUEST):
            part = chunk_ids[start : start + PLACES_PER_REQUEST]
            asked = self._reads.entries(self.collection, _some(scope, part, list(fields)))
            records = await call("scroll", self.collection, asked, seconds=READ_SECONDS)
            found |= {record.id: attributes(record.payload) for record in records}
        return found

    async def fetch(self, scope: Scope, chunk_ids: Sequence[str]) -> dict[str, Passage]:
        """Return the passages of `chunk_ids` (as candidates name them) that still are within `scope`."""
        if not chunk_ids:
            return {}
        return {chunk_id: passage(found) for chunk_id, found in (await self._read(scope, chunk_ids)).items()}

    async def _read(self, scope: Scope, chunk_ids: Sequence[str]) -> dict[str, CodedPassage]:
        asked = self._reads.passages(self.collection, _some(scope, chunk_ids, True))
        records = await call("scroll", self.collection, asked, seconds=READ_SECONDS)
        return {record.id: record.payload for record in records}

    async def _set(self, payload: dict[str, object], chosen: models.Filter) -> None:
        done = self._client.set_payload(self.collection, payload=payload, points=chosen, wait=True)
        await call("set_payload", self.collection, done, seconds=HELD_SECONDS)

    async def _delete(self, chosen: models.Filter, seconds: float = WRITE_SECONDS) -> None:
        done = self._client.delete(
            self.collection, points_selector=models.FilterSelector(filter=chosen), wait=True
        )
        await call("delete", self.collection, done, seconds=seconds)


def _points(
    tenant_id: UUID,
    document_id: UUID | None,
    *,
    version: int | None = None,
    below: int | None = None,
    active: bool | None = None,
) -> models.Filter:
    must = filters.tenant(tenant_id)
    if document_id is not None:
        must.append(equals("document_id", str(document_id)))
    if version is not None:
        must.append(equals("version", version))
    if below is not None:
        must.append(models.FieldCondition(key="version", range=models.Range(lt=below)))
    if active is not None:
        must.append(equals("active", int(active)))
    return models.Filter(must=must)


def _versions(tenant_id: UUID, versions: Sequence[VersionKey]) -> models.Filter:
    if len(versions) == 1:
        ((document_id, version),) = versions
        return _points(tenant_id, document_id, version=version)
    each: list[models.Condition] = [
        models.Filter(must=[equals("document_id", str(document_id)), equals("version", version)])
        for document_id, version in versions
    ]
    return models.Filter(must=[*filters.tenant(tenant_id), models.Filter(should=each)])


def _some(scope: Scope, chunk_ids: Sequence[str], fields: bool | list[str]) -> Scroll:
    ids = models.HasIdCondition(has_id=list(chunk_ids))
    return Scroll(filters.encoded(filters.visible(scope, ids)), len(chunk_ids), fields)


def _seen_again(
    weights: FusionWeights,
    query: DenseVector,
    vectors: Mapping[str, NDArray[np.float32]],
    fused: list[Candidate],
    sparse: Sequence[Candidate],
) -> list[Candidate]:
    """Return `fused` with the best of it scored anew, as far as their `vectors` are known: see `feedback`."""
    first, rest = fused[: feedback.PASSAGES], fused[feedback.PASSAGES :]
    known = [found for found in first if found.chunk_id in vectors]
    if not known:
        return fused
    best = sparse[0].score
    words = {found.chunk_id: found.score / best for found in sparse} if best > 0 else {}
    scores = feedback.scored(
        weights,
        query,
        np.stack([vectors[found.chunk_id] for found in known]),
        [words.get(found.chunk_id, 0.0) for found in known],
    )
    seen = [msgspec.structs.replace(each, score=score) for each, score in zip(known, scores, strict=True)]
    seen += [found for found in first if found.chunk_id not in vectors]
    # Those of the rest that none has sunk below stay where they are.
    near = bisect_right(rest, -min(map(_SCORE, seen)), key=lambda found: -found.score)
    return _ranked([*seen, *rest[:near]]) + rest[near:]


async def _vector(dense: DenseVector | Awaitable[DenseVector]) -> DenseVector:
    return await dense if isinstance(dense, Awaitable) else dense


async def _both(
    first: Awaitable[list[Candidate]], second: Awaitable[list[Candidate]]
) -> tuple[list[Candidate], list[Candidate]]:
    """Return what both bring; when one fails, the other is given up."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _candidate(found: Scored) -> Candidate:
    if found.payload is None:
        return Candidate(found.id, found.score)
    return Candidate(found.id, found.score, found.payload.document_id, found.payload.version)


def _ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the best first, equal ones in the order of their ids: sorting is stable, also in reverse."""
    return sorted(sorted(candidates, key=_CHUNK_ID), key=_SCORE, reverse=True)


def _fused(
    weights: FusionWeights, dense: Sequence[Candidate], sparse: Sequence[Candidate]
) -> list[Candidate]:
    known = {candidate.chunk_id: candidate for candidate in (*dense, *sparse)}
    legs = ([(candidate.chunk_id, candidate.score) for candidate in leg] for leg in (dense, sparse))
    fused = fuse(weights, *legs)
    return _ranked(
        Candidate(chunk_id, score, known[chunk_id].document_id, known[chunk_id].version)
        for chunk_id, score in fused
    )
