import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quarry_common.embedding.openai import open_openai
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.embedding.protocol import AsyncEmbedder, Embedder
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import SettingsError


@asynccontextmanager
async def open_embedder(settings: EmbedderSettings, *, queries: bool = False) -> AsyncIterator[AsyncEmbedder]:
    """Yield the embedder that the settings name, and close it. `queries` says what it is for: short texts,
    one at a time, each of which somebody waits for.

    Raises `ModelError` when the local model cannot be used; with a remote one whose dimensions are not set,
    what the endpoint's first answer gives cause to: `UnavailableError`, or an error of `embedding.errors`.
    """
    if settings.embedder == "openai":
        async with open_openai(settings) as remote:
            yield remote
        return
    # The pool has the threads; each run computes in its own.
    single = settings.model_copy(update={"embedder_threads": 1})
    local = await asyncio.to_thread(load_embedder, single, queries=queries)
    threads = settings.embedder_threads or len(os.sched_getaffinity(0))
    pool = EmbedderPool(local, max_waiting=settings.embedder_max_waiting, threads=threads)
    try:
        yield pool
    finally:
        await pool.close()


def load_embedder(settings: EmbedderSettings, *, queries: bool = False) -> Embedder:
    """Return the local embedder itself, for what works without an event loop.

    Raises `SettingsError` when the settings name a remote one, `ModelError` when the model cannot be used.
    """
    if settings.embedder != "local":
        raise SettingsError(f"EMBEDDER: must be `local` here (it is {settings.embedder!r})")
    # With a remote embedder a process does not carry the memory of this one.
    from quarry_common.embedding.onnx import load_local_embedder  # noqa: PLC0415

    return load_local_embedder(settings, queries=queries)
