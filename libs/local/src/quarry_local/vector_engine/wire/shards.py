"""Bodies of what only the listening process asks a shard's: to make, open and describe it."""

import msgspec

from quarry_local.vector_engine.wire.collections import CreateCollection

CREATE = "create_shard"
OPEN = "open_shard"
"""What a process may be asked before its shard is open: with the bodies `Create` and `Open`."""


class Create(msgspec.Struct, frozen=True):
    """A shard to make in `folder`, which must not exist; it is not opened."""

    folder: str
    settings: CreateCollection


class Open(msgspec.Struct, frozen=True):
    """A shard to open and answer from."""

    folder: str
    settings: CreateCollection
    operations: int = 0
    """Number of the last operation on it."""


class Opened(msgspec.Struct, frozen=True):
    """What is found in a shard that has been opened."""

    unindexed: int
    """About how many points are in no graph."""


class ShardInfo(msgspec.Struct, frozen=True):
    """What the library tells of a shard."""

    points_count: int
    indexed_vectors_count: int
    segments_count: int
    payload_schema: msgspec.Raw
    """The payload indexes, as Qdrant describes them."""
