"""The remote embedder against a server that does what is asked of it."""

import asyncio

import numpy as np
import pytest
from libs.common.tests.embedding_server import (
    DIMENSIONS,
    MODEL,
    EmbeddingServer,
    after,
    changed,
    embedded,
    vectors_of,
)
from libs.common.tests.integration.embedding.conftest import KEY, OpenRemote, eventually, queued, soon

from quarry_common.embedding.load import load_embedder, open_embedder
from quarry_common.embedding.openai import OpenAIEmbedder
from quarry_common.embedding.pool import EmbedderBusyError, EmbedderPool
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.errors import DeadlineExceededError, UnavailableError
from quarry_common.settings import SettingsError, load


async def test_vectors_are_float32_of_length_one_in_the_order_of_the_texts(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    texts = [f"text {number}" for number in range(100)]
    vectors = await remote.embed(texts, deadline=soon())
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, vectors_of(texts), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


async def test_the_request_is_what_openai_documents(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await remote.embed(["one", "größe 日本"], deadline=soon())
    (request,) = server.requests
    assert request.path == "/v1/embeddings"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.body == {
        "model": MODEL,
        "input": ["one", "größe 日本"],
        "encoding_format": "float",
        "dimensions": DIMENSIONS,
    }


async def test_dimensions_are_not_sent_to_a_model_that_cannot_shorten(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    async with open_remote(send_dimensions="false") as embedder:
        await embedder.embed(["one"], deadline=soon())
    assert "dimensions" not in server.requests[0].body


async def test_without_a_key_none_is_sent(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    async with open_remote(api_key="") as embedder:
        await embedder.embed(["one"], deadline=soon())
    assert "authorization" not in server.requests[0].headers


async def test_no_texts_need_no_request(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    assert (await remote.embed([], deadline=soon())).shape == (0, DIMENSIONS)
    assert not server.requests


async def test_an_answer_in_another_order_is_put_in_order(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    texts = ["a", "b", "c"]
    server.script.append(changed(lambda entries: entries[::-1]))
    np.testing.assert_allclose(await remote.embed(texts, deadline=soon()), vectors_of(texts), atol=1e-6)
    assert len(server.requests) == 1


async def test_an_answer_without_numbers_is_in_the_order_of_the_request(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    texts = ["a", "b", "c"]
    server.script.append(changed(lambda entries: [{"embedding": item["embedding"]} for item in entries]))
    np.testing.assert_allclose(await remote.embed(texts, deadline=soon()), vectors_of(texts), atol=1e-6)
    assert len(server.requests) == 1


async def test_huge_numbers_are_brought_to_length_one(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    vector = [3e300, 4e300] + [0.0] * (DIMENSIONS - 2)
    server.script.append(changed(lambda entries: [{"index": 0, "embedding": vector}]))
    row = (await remote.embed(["a"], deadline=soon()))[0]
    np.testing.assert_allclose(row[:2], [0.6, 0.8], atol=1e-6)


async def test_requests_keep_to_the_bound_of_texts(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    async with open_remote(batch_texts=10) as embedder:
        await embedder.embed([f"text {number}" for number in range(35)], deadline=soon())
    assert sorted(len(request.texts) for request in server.requests) == [5, 10, 10, 10]


async def test_requests_keep_to_the_bound_of_tokens(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    async with open_remote(batch_tokens=100) as embedder:
        await embedder.embed(["wing " * 40] * 6, deadline=soon())
    assert [len(request.texts) for request in server.requests] == [2, 2, 2]


async def test_a_long_text_is_cut_to_what_the_model_reads(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    async with open_remote(max_tokens=20) as embedder:
        assert embedder.max_tokens == 20
        await embedder.embed(["wing " * 1000], deadline=soon())
    assert server.embedded == [("wing " * 20).strip()]


async def test_half_a_surrogate_pair_harms_nobody(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await remote.embed(["good", "a \ud800 b"], deadline=soon())
    assert server.embedded == ["good", "a ? b"]


async def test_requests_keep_to_the_bound_of_concurrency(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    go = asyncio.Event()
    server.rule = lambda request: after(go, embedded(server))
    async with open_remote(concurrency=3, batch_texts=1) as embedder:
        work = asyncio.create_task(embedder.embed([str(n) for n in range(10)], deadline=soon()))
        await eventually(lambda: server.open_requests == 3)
        assert queued(embedder) == 7
        go.set()
        await work
    assert server.most_open_requests == 3


async def test_callers_share_requests(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    go = asyncio.Event()
    server.script.append(after(go, embedded(server)))
    async with open_remote(concurrency=1) as embedder:
        first = asyncio.create_task(embedder.embed(["first"], deadline=soon()))
        await eventually(lambda: server.open_requests == 1)
        others = [asyncio.create_task(embedder.embed([f"query {n}"], deadline=soon())) for n in range(5)]
        await eventually(lambda: queued(embedder) == 5)
        go.set()
        for number, task in enumerate(others):
            np.testing.assert_allclose(await task, vectors_of([f"query {number}"]), atol=1e-6)
        await first
    assert [len(request.texts) for request in server.requests] == [1, 5]


async def test_owners_take_turns(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    go = asyncio.Event()
    server.script.append(after(go, embedded(server)))
    async with open_remote(concurrency=1, batch_texts=4) as embedder:
        large = [f"large {number}" for number in range(40)]
        import_ = asyncio.create_task(embedder.embed(large, deadline=soon(), owner="a"))
        await eventually(lambda: server.open_requests == 1)
        small = asyncio.create_task(embedder.embed(["small 0", "small 1"], deadline=soon(), owner="b"))
        await eventually(lambda: queued(embedder) == 38)
        go.set()
        await small
        await import_
    assert sorted(server.requests[1].texts) == ["large 4", "large 5", "small 0", "small 1"]


async def test_too_many_texts_are_refused(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    go = asyncio.Event()
    server.rule = lambda request: after(go, embedded(server))
    async with open_remote(max_waiting=10) as embedder:
        waiting = asyncio.create_task(embedder.embed(["x"] * 10, deadline=soon()))
        await eventually(lambda: server.open_requests == 1)
        with pytest.raises(EmbedderBusyError, match="10 texts wait"):
            await embedder.embed(["y"], deadline=soon())
        go.set()
        await waiting
        assert len(await embedder.embed(["y"], deadline=soon())) == 1


async def test_a_deadline_ends_the_wait(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    server.rule = lambda request: after(asyncio.Event(), embedded(server))
    started = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceededError):
        await remote.embed(["x"], deadline=started + 0.1)
    assert asyncio.get_running_loop().time() < started + 2


async def test_what_nobody_waits_for_any_more_is_not_sent(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    go = asyncio.Event()
    server.script.append(after(go, embedded(server)))
    async with open_remote(concurrency=1) as embedder:
        first = asyncio.create_task(embedder.embed(["first"], deadline=soon()))
        await eventually(lambda: server.open_requests == 1)
        late = asyncio.create_task(embedder.embed(["late"], deadline=soon()))
        await eventually(lambda: queued(embedder) == 1)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        go.set()
        await first
        await embedder.embed(["after"], deadline=soon())
    assert server.embedded == ["first", "after"]


async def test_a_closed_embedder_refuses_what_is_under_way_and_what_comes(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    server.rule = lambda request: after(asyncio.Event(), embedded(server))
    async with open_remote() as embedder:
        waiting = asyncio.create_task(embedder.embed(["x"], deadline=soon()))
        await eventually(lambda: server.open_requests == 1)
    with pytest.raises(UnavailableError, match="being stopped"):
        await waiting
    with pytest.raises(UnavailableError, match="being stopped"):
        await embedder.embed(["y"], deadline=soon())


async def test_dimensions_that_are_not_set_are_asked_for_once(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    async with open_remote(dimensions=0) as embedder:
        assert embedder.dimensions == DIMENSIONS
        assert len(server.requests) == 1
        await embedder.embed(["x"], deadline=soon())
    assert all("dimensions" not in request.body for request in server.requests)


async def test_the_id_is_that_of_model_and_dimensions_and_not_of_the_address(open_remote: OpenRemote) -> None:
    async with open_remote() as one, open_remote(dimensions=0) as asked:
        assert one.id == asked.id
        assert one.id.startswith(f"{MODEL}@")
    async with open_remote(url="http://127.0.0.1:1/other") as moved, open_remote(dimensions=4) as shorter:
        assert moved.id == one.id
        assert shorter.id != one.id
    async with open_remote(model="another") as another:
        assert another.id.split("@")[1] != one.id.split("@")[1]


async def test_the_settings_choose_the_embedder(
    server: EmbeddingServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = {"EMBEDDER_URL": server.url, "EMBEDDER_MODEL": MODEL, "EMBEDDER_DIMENSIONS": "8"}
    remote = load(EmbedderSettings, {"EMBEDDER": "openai", **address})
    async with open_embedder(remote) as embedder:
        assert isinstance(embedder, OpenAIEmbedder)
    with pytest.raises(SettingsError, match="EMBEDDER: must be `local` here"):
        load_embedder(remote)

    cache = tmp_path_factory.mktemp("models")
    async with open_embedder(load(EmbedderSettings, {"MODEL_CACHE_DIR": str(cache)})) as embedder:
        assert isinstance(embedder, EmbedderPool)
        assert (embedder.dimensions, embedder.max_tokens) == (384, 254)
        assert (await embedder.embed(["wing"], deadline=soon(30), owner="a")).shape == (1, 384)
