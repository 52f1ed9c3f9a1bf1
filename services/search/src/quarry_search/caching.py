"""Answers and query embeddings that were computed before."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from quarry_common.cache.cache import Cache
from quarry_common.cache.generations import Generations
from quarry_common.cache.keys import UNCHANGING, Generation
from quarry_common.cache.typed import TypedCache
from quarry_common.contracts.caches import CacheStats
from quarry_common.contracts.search import NOBODY, Answer, CacheUse, Query, RerankOutcome
from quarry_common.embedding.protocol import AsyncEmbedder, Vectors
from quarry_common.ids import new_id
from quarry_search.timings import Timings

RANKING = "2"
"""Changes with whatever changes what is answered to the same query over the same content."""
ANSWERS, EMBEDDINGS = "answers", "embeddings"
_STORED = np.dtype("<f4")
_encode = msgspec.json.Encoder(order="deterministic").encode


class _NotKeptError(Exception):
    """An answer that is not to be kept."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class CachedAnswers:
    """Answers by all that makes them: the tenant's content, what was asked, who asked, how it is ranked.

    `configuration` tells of what else shapes an answer, such as the embedder's id.
    """

    def __init__(self, cache: Cache, generations: Generations, configuration: Sequence[object]) -> None:
        self._answers = TypedCache(cache.named(ANSWERS), Answer)
        self._generations = generations
        self._configuration = hashlib.blake2b(_encode((RANKING, *configuration)), digest_size=8).hexdigest()

    async def get_or_compute(
        self, query: Query, tuning: str, timings: Timings, compute: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Return the answer to `query`: the one that was computed before, if nothing has changed since.
        `tuning` tells apart how it may be read.

        Explained answers tell of their own making, and what a reranker failed at should be tried again:
        neither is kept. Raises what `compute` raises.
        """
        # Before anything is read: what changes afterwards makes another generation.
        generation = self._generations.generation(query.tenant_id)
        if query.explain:
            return await compute()
        if generation is None:
            self._answers.paused()
            return await compute()
        computed: list[Answer] = []

        async def keep() -> Answer:
            answer = await compute()
            if answer.rerank is RerankOutcome.FAILED:
                raise _NotKeptError(answer)
            computed.append(answer)
            return answer

        try:
            answer = await self._answers.get_or_compute(
                query.tenant_id, self._key(query, tuning), keep, generation=generation
            )
        except _NotKeptError as failed:
            return failed.answer
        if computed:
            return msgspec.structs.replace(computed[0], cache=CacheUse.MISS)
        timings.total_seconds()
        return msgspec.structs.replace(
            answer, query_id=new_id(), timings_ms=timings.milliseconds, cache=CacheUse.HIT
        )

    def stats(self) -> CacheStats:
        """Return how well answers are found again."""
        return self._answers.stats()

    def _key(self, query: Query, tuning: str) -> str:
        if query.asker is not NOBODY:
            query = msgspec.structs.replace(query, asker=NOBODY)
        asked = hashlib.blake2b(_encode(query), digest_size=16).hexdigest()
        return f"{self._configuration}:{tuning}:{asked}"


class CachedQueries:
    """An embedder that computes the vector of a tenant's query once, as long as it is kept.

    `shared` says whether processes share vectors through Redis. Two requests to Redis cost more than the
    local embedder's run; a remote one is paid for.
    """

    def __init__(self, embedder: AsyncEmbedder, cache: Cache, *, shared: bool) -> None:
        self._embedder = embedder
        self._generation = UNCHANGING if shared else Generation(UNCHANGING.local, None)
        self._cache = cache.named(EMBEDDINGS)
        self.id = embedder.id
        self.dimensions = embedder.dimensions
        self.max_tokens = embedder.max_tokens
        self._salt = f"{embedder.id}\0".encode()

    async def embed(self, texts: Sequence[str], *, deadline: float, owner: str = "") -> Vectors:
        """Return one vector per text; raises what the embedder raises. `owner` is a tenant's id."""
        return np.stack([await self._one(text, deadline, owner) for text in texts])

    def stats(self) -> CacheStats:
        """Return how well vectors are found again."""
        return self._cache.stats()

    async def _one(self, text: str, deadline: float, owner: str) -> NDArray[np.float32]:
        async def compute() -> bytes:
            vectors = await self._embedder.embed([text], deadline=deadline, owner=owner)
            return bytes(vectors[0].astype(_STORED).tobytes())

        key = hashlib.blake2b(self._salt + text.encode(), digest_size=16).hexdigest()
        found = await self._cache.get_or_compute(UUID(owner), key, compute, generation=self._generation)
        return np.frombuffer(found, _STORED)

    async def close(self) -> None:
        """Close the embedder."""
        await self._embedder.close()
