"""Vectors of chunks: each text is embedded once, and its vector kept in Postgres."""

import asyncio
import hashlib
from collections.abc import Sequence
from uuid import UUID

import numpy as np

from quarry_common.embedding.protocol import AsyncEmbedder, Vectors
from quarry_common.postgres.pool import Database
from quarry_indexer.indexing.metrics import EMBEDDINGS
from quarry_indexer.indexing.together import together
from quarry_indexer.repository import embeddings

EMBED_SECONDS = 120.0
KEPT_AT_ONCE = 16
"""Vectors that are stored together; what a killed process has embedded and not stored is lost."""
DIGEST_BYTES = 16
_STORED = np.dtype("<f4")


class CachedEmbedder:
    """An embedder that computes no vector of a tenant's text twice, as long as the first one is kept.

    Vectors are stored as soon as some are there, so a process that is killed loses few.
    """

    def __init__(self, database: Database, embedder: AsyncEmbedder, *, fair: bool = True) -> None:
        """Wrap `embedder`; with `fair` tenants take turns at it."""
        self._fair = fair
        self._database = database
        self._embedder = embedder
        self._salt = f"{embedder.id}\0".encode()

    async def embed(self, tenant_id: UUID, texts: Sequence[str]) -> Vectors:
        """Return one vector per text, shape (texts, dimensions).

        Raises what the embedder and the database raise.
        """
        digests = [self._digest(text) for text in texts]
        by_digest = dict(zip(digests, texts, strict=True))
        async with self._database.tenant_transaction(tenant_id) as connection:
            known = await embeddings.find(connection, tenant_id, list(by_digest))
        missing = [digest for digest in by_digest if digest not in known]
        if missing:
            # Texts of like length together: the embedder spends less on padding.
            missing.sort(key=lambda digest: len(by_digest[digest]))
            parts = [missing[at : at + KEPT_AT_ONCE] for at in range(0, len(missing), KEPT_AT_ONCE)]
            for made in await together(self._compute(tenant_id, by_digest, part) for part in parts):
                known |= made
        EMBEDDINGS.labels("cache").inc(len(by_digest) - len(missing))
        return np.stack([np.frombuffer(known[digest], _STORED) for digest in digests])

    async def _compute(
        self, tenant_id: UUID, texts: dict[bytes, str], digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        deadline = asyncio.get_running_loop().time() + EMBED_SECONDS
        chosen = [texts[digest] for digest in digests]
        vectors = await self._embedder.embed(
            chosen, deadline=deadline, owner=str(tenant_id) if self._fair else ""
        )
        EMBEDDINGS.labels("computed").inc(len(digests))
        made = {
            digest: vector.astype(_STORED).tobytes() for digest, vector in zip(digests, vectors, strict=True)
        }
        async with self._database.tenant_transaction(tenant_id) as connection:
            await embeddings.add(connection, tenant_id, made)
        return made

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(self._salt + text.encode(), digest_size=DIGEST_BYTES).digest()
