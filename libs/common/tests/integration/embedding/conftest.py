import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest
from libs.common.tests.embedding_server import MODEL, EmbeddingServer, running_embedding_server

from quarry_common.embedding import dispatch
from quarry_common.embedding.openai import OpenAIEmbedder, open_openai
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import load

NO_REDIS = "redis://127.0.0.1:1/0"
KEY = "sk-of-the-test"

OpenRemote: TypeAlias = Callable[..., AbstractAsyncContextManager[OpenAIEmbedder]]


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def queued(embedder: OpenAIEmbedder) -> int:
    """Return how many texts wait for their first request."""
    return len(list(embedder._dispatcher._new_items))


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with running_embedding_server() as running:
        yield running


@pytest.fixture
def open_remote(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> OpenRemote:
    """Opens an embedder of the server; keywords are its settings in small letters without `embedder_`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(dispatch, "FIRST_DELAY_SECONDS", 0.01)

    def open_it(*, redis_url: str = NO_REDIS, **given: object) -> AbstractAsyncContextManager[OpenAIEmbedder]:
        values = {"url": server.url, "model": MODEL, "dimensions": server.dimensions, "api_key": KEY, **given}
        environ = {f"EMBEDDER_{name.upper()}": str(value) for name, value in values.items()}
        return open_openai(load(EmbedderSettings, {"EMBEDDER": "openai", "REDIS_URL": redis_url, **environ}))

    return open_it


@pytest.fixture
async def remote(open_remote: OpenRemote) -> AsyncIterator[OpenAIEmbedder]:
    async with open_remote() as embedder:
        yield embedder
