"""Keys of the cache. No key of one tenant, or of one cache, can address another's.

A tenant is a UUID, which holds neither separator nor wildcard; names and keys are percent-encoded, so that
what is left of them is `[A-Za-z0-9_.~%-]`. Different texts stay different.
"""

import re
from hashlib import blake2b
from urllib.parse import quote
from uuid import UUID

import msgspec

MAX_KEY_CHARS = 1024


class Generation(msgspec.Struct, frozen=True):
    """Which state of a tenant's content an entry belongs to: for this process's memory, and for Redis.

    `shared` is None while the processes have not agreed on one: then only the memory is used.
    """

    local: str
    shared: str | None


UNCHANGING = Generation("-", "-")
"""Of what does not depend on a tenant's content."""


class EntryKey(msgspec.Struct, frozen=True):
    """Where one entry is: in memory, and in Redis."""

    tenant: UUID
    generation: str
    memory: str
    shared: str
    """Empty for what is kept in memory only."""
    lock: str


def entry_key(prefix: str, tenant: UUID, name: str, key: str, generation: Generation) -> EntryKey:
    """Return the place of `key` in the cache called `name`.

    Raises `ValueError` for a key of more than 1,024 characters (see `digest`), `TypeError` for a tenant that
    is no UUID.
    """
    if not isinstance(tenant, UUID):
        raise TypeError("a tenant is named by its UUID")
    if len(key) > MAX_KEY_CHARS:
        raise ValueError(f"a cache key has {len(key)} characters; at most {MAX_KEY_CHARS} are allowed")
    space, rest = _quoted(name), _quoted(key)
    shared = f"{tenant}:{space}:{generation.shared}:{rest}"
    return EntryKey(
        tenant=tenant,
        generation=generation.local,
        memory=f"{space}:{generation.local}:{rest}",
        shared=f"{prefix}entry:{shared}" if generation.shared else "",
        lock=f"{prefix}lock:{shared}" if generation.shared else "",
    )


def space_of(name: str) -> str:
    """Return how the cache called `name` is named in keys."""
    return _quoted(name)


def parts(memory: str) -> tuple[str, str]:
    """Return the cache's name, as keys hold it, and the generation in the `memory` part of a key."""
    space, generation, _ = memory.split(":", 2)
    return space, generation


def digest(*pieces: str | bytes) -> str:
    """Return a short key made of `pieces`, whatever they hold and however long they are."""
    made = blake2b(digest_size=20)
    for part in pieces:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        made.update(b"%c%d:" % (b"s" if isinstance(part, str) else b"b", len(data)))
        made.update(data)
    return made.hexdigest()


def everything(prefix: str) -> str:
    """Return the glob of all entries of all tenants."""
    return f"{prefix}entry:*"


def redis_pattern(prefix: str, tenant: UUID, name: str | None, pattern: str) -> str:
    """Return the glob of the tenant's entries whose key fits `pattern`, in every generation.

    `*` in `pattern` stands for any characters; every other character, `?` and `[` too, for itself. None for
    `name` means every cache.
    """
    space = "*" if name is None else _quoted(name)
    return f"{prefix}entry:{tenant}:{space}:*:{'*'.join(map(_quoted, pattern.split('*')))}"


def memory_pattern(name: str | None, pattern: str) -> re.Pattern[str]:
    """Return what fits the `memory` part of those keys."""
    space = "[^:]*" if name is None else re.escape(_quoted(name))
    pieces = "[^:]*".join(re.escape(_quoted(piece)) for piece in pattern.split("*"))
    return re.compile(f"{space}:[^:]*:{pieces}")


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")
