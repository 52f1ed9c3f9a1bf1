"""The remote embedder against a server that fails: what is tried again, what is told, and to whom."""

import asyncio
import logging

import numpy as np
import pytest
from libs.common.tests.embedding_server import (
    DIMENSIONS,
    EmbeddingServer,
    Request,
    Script,
    after,
    answer,
    broken_off,
    changed,
    embedded,
    endless,
    error,
    raw_vector,
    vectors_of,
)
from libs.common.tests.integration.embedding.conftest import KEY, OpenRemote, eventually, queued, soon

from quarry_common.embedding import dispatch, endpoint
from quarry_common.embedding.errors import (
    EmbedderFailedError,
    EmbedderRefusedError,
    EmbedderUnauthorizedError,
)
from quarry_common.embedding.openai import OpenAIEmbedder
from quarry_common.errors import QuarryError, UnavailableError

SHORT = 0.3
"""Seconds in which a few attempts are made."""


async def embeds_after(server: EmbeddingServer, remote: OpenAIEmbedder, *scripts: Script) -> None:
    """What is asserted: the texts are embedded though the server first answered with `scripts`."""
    server.script.extend(scripts)
    texts = ["a", "b", "c"]
    np.testing.assert_allclose(await remote.embed(texts, deadline=soon()), vectors_of(texts), atol=1e-6)
    assert len(server.requests) > len(scripts)


async def refusal(remote: OpenAIEmbedder, seconds: float = SHORT, text: str = "a") -> QuarryError:
    with pytest.raises(QuarryError) as caught:
        await remote.embed([text], deadline=soon(seconds))
    return caught.value


async def test_a_failure_is_tried_again(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await embeds_after(server, remote, error(500, "oh"), error(502, "no"), error(503, "hm"), answer(504))


async def test_truncated_json_is_tried_again(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await embeds_after(server, remote, answer(200, b'{"data": [{"index": 0, "embedding": [0.1, 0.'))


async def test_a_wrong_count_is_tried_again(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    numberless = changed(lambda entries: [{"embedding": item["embedding"]} for item in entries[:-1]])
    await embeds_after(server, remote, changed(lambda entries: entries[:-1]), numberless)


async def test_a_number_given_twice_is_tried_again(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await embeds_after(server, remote, changed(lambda entries: [{**item, "index": 0} for item in entries]))


async def test_a_vector_that_is_no_number_is_tried_again(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    await embeds_after(
        server,
        remote,
        changed(lambda entries: [{**item, "embedding": [float("nan")] * 8} for item in entries]),
    )


async def test_a_vector_of_zeros_is_tried_again(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await embeds_after(
        server,
        remote,
        changed(lambda entries: [*entries[:-1], {"index": 2, "embedding": [0.0] * DIMENSIONS}]),
    )


async def test_a_broken_connection_is_tried_again(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    await embeds_after(server, remote, broken_off)


async def test_a_huge_answer_is_not_read_to_its_end(
    server: EmbeddingServer, remote: OpenAIEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await embeds_after(server, remote, endless)
    assert "answered with more than" in caplog.text


async def test_a_slow_answer_is_given_up_and_tried_again(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    async with open_remote(timeout_seconds=0.1) as embedder:
        await embeds_after(server, embedder, after(asyncio.Event(), embedded(server)))


async def test_what_keeps_failing_is_told_when_no_time_is_left_for_another_attempt(
    server: EmbeddingServer, remote: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_delay", lambda failures, longest: 0.01 if failures < 4 else 7200.0)
    server.rule = lambda request: error(500, "out of memory")
    told = await refusal(remote, seconds=3600)  # more than the test may take
    assert isinstance(told, EmbedderFailedError)
    assert (told.data.code, told.data.status) == ("embedder_failed", 502)
    assert told.data.detail == f"{server.url}/embeddings answered 500: out of memory"
    assert len(server.requests) == 4


async def test_what_keeps_timing_out_is_a_failure(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    server.rule = lambda request: after(asyncio.Event(), embedded(server))
    async with open_remote(timeout_seconds=0.05) as embedder:
        told = await refusal(embedder)
    assert isinstance(told, EmbedderFailedError)
    assert "did not answer within 0.05 s" in told.data.detail


async def test_wrong_dimensions_are_told_at_once(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    async with open_remote(dimensions=384, send_dimensions="false") as embedder:
        told = await refusal(embedder, seconds=10)
    assert isinstance(told, EmbedderFailedError)
    assert f"vectors of {DIMENSIONS} dimensions, not of 384" in told.data.detail
    assert "EMBEDDER_DIMENSIONS" in told.data.advice
    assert len(server.requests) == 1


async def test_nobody_there_counts_as_unavailable(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    async with open_remote(url="http://127.0.0.1:1/v1") as embedder:
        told = await refusal(embedder)
    assert isinstance(told, UnavailableError)
    assert "127.0.0.1:1/v1/embeddings cannot be reached" in told.data.detail
    assert "EMBEDDER_URL" in told.data.advice


async def test_a_name_that_does_not_resolve_counts_as_unavailable(open_remote: OpenRemote) -> None:
    async with open_remote(url="http://embedder.invalid/v1") as embedder:
        assert isinstance(await refusal(embedder, seconds=2), UnavailableError)


async def test_a_missing_path_is_told_at_once(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    server.rule = lambda request: error(404, "The model `test-model` does not exist")
    told = await refusal(remote, seconds=10)
    assert isinstance(told, EmbedderRefusedError)
    assert (told.data.code, told.data.status) == ("embedder_refused", 502)
    assert "does not exist" in told.data.detail
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_key_is_told_at_once(
    server: EmbeddingServer, remote: OpenAIEmbedder, status: int
) -> None:
    server.rule = lambda request: error(status, f"Incorrect API key provided: {KEY}.")
    told = await refusal(remote, seconds=10)
    assert isinstance(told, EmbedderUnauthorizedError)
    assert (told.data.code, told.data.status) == ("embedder_unauthorized", 502)
    assert "EMBEDDER_API_KEY" in told.data.advice
    assert len(server.requests) == 1


async def test_the_key_is_never_told(
    server: EmbeddingServer, remote: OpenAIEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.rule = lambda request: answer(500 if len(server.requests) < 2 else 401, f"x {KEY} y".encode())
    told = await refusal(remote, seconds=10)
    assert "x [key] y" in told.data.detail
    assert KEY not in f"{told!r} {told.data} {caplog.text}"


async def test_of_a_long_answer_the_beginning_is_told(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.rule = lambda request: answer(404, b"<html>\n" + b"x" * 5000)
    told = await refusal(remote, seconds=10)
    assert len(told.data.detail) < len(server.url) + endpoint.EXCERPT_CHARACTERS + 40
    assert "<html> xxx" in told.data.detail


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_text_is_its_callers_alone(
    server: EmbeddingServer, open_remote: OpenRemote, status: int
) -> None:
    go = asyncio.Event()
    server.script.append(after(go, embedded(server)))
    server.rule = lambda request: error(status, "invalid input") if "bad" in request.texts else None
    async with open_remote(concurrency=1) as embedder:
        held = asyncio.create_task(embedder.embed(["first"], deadline=soon()))
        await eventually(lambda: server.open_requests == 1)
        bad = asyncio.create_task(embedder.embed(["w", "x", "bad"], deadline=soon()))
        good = [asyncio.create_task(embedder.embed([f"good {n}"], deadline=soon())) for n in range(13)]
        await eventually(lambda: queued(embedder) == 16)
        go.set()
        for number, task in enumerate(good):
            np.testing.assert_allclose(await task, vectors_of([f"good {number}"]), atol=1e-6)
        with pytest.raises(EmbedderRefusedError, match=r"invalid input \(text 3 of 3\)") as caught:
            await bad
        await held
    assert caught.value.data.code == "embedder_refused"
    assert len(server.requests) <= 2 + 2 * 4


async def test_a_batch_that_is_too_large_goes_in_parts(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    def at_most_ten(request: Request) -> Script | None:
        return error(400, "batch size should not be larger than 10") if len(request.texts) > 10 else None

    server.rule = at_most_ten
    texts = [f"text {number}" for number in range(64)]
    np.testing.assert_allclose(await remote.embed(texts, deadline=soon()), vectors_of(texts), atol=1e-6)
    assert sorted(server.embedded) == sorted(texts)


async def test_a_text_that_makes_the_server_fail_is_its_callers_alone(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    server.rule = lambda request: error(500, "decode failed") if "bad" in request.texts else None
    async with open_remote() as embedder:
        bad = asyncio.create_task(embedder.embed(["bad"], deadline=soon()))
        good = [asyncio.create_task(embedder.embed([f"good {n}"], deadline=soon())) for n in range(7)]
        for number, task in enumerate(good):
            np.testing.assert_allclose(await task, vectors_of([f"good {number}"]), atol=1e-6)
        assert not bad.done()
        bad.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bad


async def test_vectors_of_different_lengths_are_no_vectors(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.rule = lambda request: changed(
        lambda entries: [{**item, "embedding": raw_vector("x", 8 - item["index"])} for item in entries]
    )
    with pytest.raises(EmbedderFailedError, match="gave vectors of 7 dimensions, not of 8"):
        await remote.embed(["a", "b"], deadline=soon())


async def test_one_error_told_to_many_is_each_ones_own(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.rule = lambda request: error(401, "no")
    calls = [remote.embed([str(number)], deadline=soon()) for number in range(3)]
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert len({id(each) for each in told}) == 3
