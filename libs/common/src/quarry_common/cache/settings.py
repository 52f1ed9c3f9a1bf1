from typing import Annotated

from pydantic import Field

from quarry_common.settings import RedisSettings

MIB = 1 << 20


class SharedKeysSettings(RedisSettings):
    """Redis, and where in it the installation's keys are."""

    cache_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = Field(
        "quarry:",
        description="Beginning of the keys of caches and rate limits in Redis; installations "
        "that share one differ.",
    )


class CacheSettings(SharedKeysSettings):
    """What one process may keep in memory, and how it shares the rest through Redis."""

    cache_enabled: bool = Field(True, description="Whether anything is cached at all.")
    cache_max_memory_items: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        10_000, description="Entries that one process keeps in memory."
    )
    cache_max_memory_bytes: Annotated[int, Field(ge=MIB)] = Field(
        64 * MIB, description="Bytes that those entries may take, keys and overhead included."
    )
    cache_default_ttl_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] = Field(
        3600.0, description="Time after which an entry is forgotten."
    )
