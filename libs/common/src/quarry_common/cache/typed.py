"""Structs in the cache."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from quarry_common.cache.cache import WAIT_SECONDS, Cache
from quarry_common.cache.keys import UNCHANGING, Generation
from quarry_common.contracts.caches import CacheStats

T = TypeVar("T", bound=msgspec.Struct)


class TypedCache(Generic[T]):
    """A cache of one type, in MessagePack. What cannot be read as that type is removed, and is a miss.

    Values come back as new objects. A type whose fields change their meaning needs another name.
    """

    def __init__(self, cache: Cache, kind: type[T]) -> None:
        self._cache = cache
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    async def get(self, tenant: UUID, key: str, *, generation: Generation | None = UNCHANGING) -> T | None:
        """Return the value, or None."""
        data = await self._cache.get(tenant, key, generation=generation)
        if data is None:
            return None
        try:
            return self._decode(data)
        except msgspec.MsgspecError:
            await self._cache.delete(tenant, key, generation=generation)
            return None

    async def set(
        self,
        tenant: UUID,
        key: str,
        value: T,
        *,
        ttl_seconds: float | None = None,
        generation: Generation | None = UNCHANGING,
    ) -> None:
        """Keep `value`, as `Cache.set` does."""
        data = self._encode(value)
        await self._cache.set(tenant, key, data, ttl_seconds=ttl_seconds, generation=generation)

    def paused(self) -> None:
        """Count a look-up that was left out, as `Cache.paused` does."""
        self._cache.paused()

    def stats(self) -> CacheStats:
        """Return how well the cache does in this process."""
        return self._cache.stats()

    async def delete(self, tenant: UUID, key: str, *, generation: Generation | None = UNCHANGING) -> None:
        """Forget one entry, as `Cache.delete` does."""
        await self._cache.delete(tenant, key, generation=generation)

    async def get_or_compute(
        self,
        tenant: UUID,
        key: str,
        compute: Callable[[], Awaitable[T]],
        *,
        ttl_seconds: float | None = None,
        generation: Generation | None = UNCHANGING,
        wait_seconds: float = WAIT_SECONDS,
    ) -> T:
        """Return the value, computed as `Cache.get_or_compute` does."""

        async def encoded() -> bytes:
            return self._encode(await compute())

        async def asked() -> bytes:
            return await self._cache.get_or_compute(
                tenant,
                key,
                encoded,
                ttl_seconds=ttl_seconds,
                generation=generation,
                wait_seconds=wait_seconds,
            )

        data = await asked()
        try:
            return self._decode(data)
        except msgspec.MsgspecError:
            await self._cache.delete(tenant, key, generation=generation)
        return self._decode(await asked())
