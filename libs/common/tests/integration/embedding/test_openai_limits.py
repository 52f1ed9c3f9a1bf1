"""Rate limits: what the endpoint says, what the settings give, and how processes share both through Redis."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from libs.common.tests.embedding_server import (
    EmbeddingServer,
    Request,
    Script,
    error,
)
from libs.common.tests.integration.embedding.conftest import NO_REDIS, OpenRemote, eventually, soon
from redis.asyncio import Redis

from quarry_common.embedding import budget
from quarry_common.embedding.errors import EmbedderLimitedError
from quarry_common.embedding.openai import OpenAIEmbedder
from quarry_common.errors import UnavailableError
from quarry_local.ports import free_port
from quarry_local.servers import redis
from quarry_local.testing import running


class Limit:
    """A rule of the server: so many requests in any window of so many seconds, else 429."""

    def __init__(self, requests: int, seconds: float, *, tell: bool = True) -> None:
        self.requests, self.seconds, self.tell = requests, seconds, tell
        self.accepted: list[float] = []
        self.refused = 0

    def __call__(self, request: Request) -> Script | None:
        recent = [at for at in self.accepted if at > request.at - self.seconds]
        if len(recent) < self.requests:
            self.accepted = [*recent, request.at]
            return None
        self.refused += 1
        wait = recent[0] + self.seconds - request.at
        return error(429, "Rate limit reached", {"Retry-After": f"{wait:.3f}"} if self.tell else None)


@pytest.fixture
def model() -> str:
    """A model of the test's own, so that its budget in Redis is."""
    return f"model-{uuid4().hex[:8]}"


async def limited(remote: OpenAIEmbedder, seconds: float) -> EmbedderLimitedError:
    with pytest.raises(EmbedderLimitedError) as caught:
        await remote.embed(["a"], deadline=soon(seconds))
    return caught.value


async def test_a_limit_without_retry_after_is_waited_out(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.script.extend([error(429, "slow down")] * 4)
    await remote.embed(["a"], deadline=soon())
    assert server.embedded == ["a"]
    gaps = [b.at - a.at for a, b in zip(server.requests, server.requests[1:], strict=False)]
    assert gaps[3] > 2 * gaps[0]


async def test_a_limit_that_lasts_is_told_with_a_time_though_the_endpoint_names_none(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.rule = lambda request: error(429, "slow down")
    told = await limited(remote, seconds=0.4)
    assert "slow down" in told.data.detail
    assert told.data.retry_after_seconds
    assert len(server.requests) > 2


async def test_retry_after_is_not_undercut(server: EmbeddingServer, open_remote: OpenRemote) -> None:
    server.script.append(error(429, "slow down", {"Retry-After": "0.4"}))
    async with open_remote(concurrency=1) as embedder:
        await asyncio.gather(*[embedder.embed([str(number)], deadline=soon()) for number in range(5)])
    assert server.requests[1].at - server.requests[0].at >= 0.4


async def test_retry_after_as_a_date_is_kept(server: EmbeddingServer, remote: OpenAIEmbedder) -> None:
    headers = {"Date": formatdate(0, usegmt=True), "Retry-After": formatdate(1, usegmt=True)}
    server.script.append(error(429, "slow down", headers))
    await remote.embed(["a"], deadline=soon())
    assert server.requests[1].at - server.requests[0].at >= 1.0


async def test_an_overloaded_server_that_says_when_is_a_limit(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.rule = lambda request: error(503, "overloaded", {"Retry-After": "60"})
    assert (await limited(remote, seconds=5)).data.retry_after_seconds == pytest.approx(60, abs=1)


async def test_a_reset_is_waited_for_where_nothing_else_is_told(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    headers = {
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "3600s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "300ms",
    }
    server.script.append(error(429, "slow down", headers))
    await remote.embed(["a"], deadline=soon())
    assert server.requests[1].at - server.requests[0].at >= 0.3


async def test_a_limit_beyond_the_deadline_is_told_at_once_and_not_as_the_texts_fault(
    server: EmbeddingServer, remote: OpenAIEmbedder
) -> None:
    server.rule = lambda request: error(429, "quota of the day", {"Retry-After": "3600"})
    told = await limited(remote, seconds=1800)  # more than the test may take
    assert isinstance(told, UnavailableError)
    assert told.data.code == "embedder_limited"
    assert told.data.retry_after_seconds == pytest.approx(3600, abs=5)
    assert "quota of the day" in told.data.detail
    # While it lasts, nobody asks again.
    assert "Nothing may be sent" in (await limited(remote, seconds=8)).data.detail
    assert len(server.requests) == 1


@pytest.mark.parametrize("tell", [True, False])
async def test_everything_is_embedded_through_a_narrow_limit(
    server: EmbeddingServer, open_remote: OpenRemote, tell: bool
) -> None:
    server.rule = limit = Limit(5, 0.3, tell=tell)
    async with open_remote(batch_texts=2) as embedder:
        calls = [embedder.embed([f"{n} {m}" for m in range(4)], deadline=soon(60)) for n in range(15)]
        await asyncio.gather(*calls)
    assert sorted(server.embedded) == sorted(f"{n} {m}" for n in range(15) for m in range(4))
    assert limit.refused > 0


async def test_the_budget_of_requests_is_kept(
    server: EmbeddingServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MINUTE_SECONDS", 1.0)
    server.rule = limit = Limit(10, 0.7)  # less by what a request may be late on a busy machine
    async with open_remote(batch_texts=1, requests_per_minute=10) as embedder:
        await embedder.embed([str(number) for number in range(25)], deadline=soon(30))
    assert limit.refused == 0
    assert server.requests[-1].at - server.requests[0].at > 1.5


async def test_the_budget_of_tokens_is_kept(
    server: EmbeddingServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MINUTE_SECONDS", 0.5)
    async with open_remote(max_tokens=50, tokens_per_minute=1000) as embedder:
        await embedder.embed(["wing " * 20] * 150, deadline=soon(30))
    # 3000 tokens at no more than 1000 in half a second, 100 at once.
    assert server.requests[-1].at - server.requests[0].at > 1.0
    assert max(len(request.texts) for request in server.requests) == 5


async def test_a_budget_that_leaves_no_time_is_told_at_once(
    server: EmbeddingServer, open_remote: OpenRemote
) -> None:
    async with open_remote(requests_per_minute=1) as embedder:
        await embedder.embed(["first"], deadline=soon())
        told = await limited(embedder, seconds=5)
    assert told.data.retry_after_seconds == pytest.approx(60, abs=2)
    assert len(server.requests) == 1


async def test_owners_take_turns_when_the_budget_is_short(
    server: EmbeddingServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MINUTE_SECONDS", 1.0)
    async with open_remote(batch_texts=2, requests_per_minute=10) as embedder:
        large = asyncio.create_task(embedder.embed([f"a {n}" for n in range(40)], deadline=soon(), owner="a"))
        await eventually(lambda: len(server.embedded) >= 4)
        await embedder.embed(["b"], deadline=soon(), owner="b")
        assert len(server.embedded) < 12
        assert not large.done()
        await large


async def test_two_processes_share_one_budget(
    server: EmbeddingServer,
    open_remote: OpenRemote,
    redis_url: str,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "MINUTE_SECONDS", 1.0)
    server.rule = limit = Limit(10, 0.7)
    given = {"batch_texts": 1, "requests_per_minute": 10, "redis_url": redis_url, "model": model}
    async with open_remote(**given) as one, open_remote(**given) as other:
        await asyncio.gather(
            one.embed([f"one {number}" for number in range(12)], deadline=soon(30)),
            other.embed([f"other {number}" for number in range(12)], deadline=soon(30)),
        )
    assert limit.refused == 0
    assert server.requests[-1].at - server.requests[0].at > 1.5


async def test_a_pause_is_shared(
    server: EmbeddingServer, open_remote: OpenRemote, redis_url: str, model: str
) -> None:
    given = {"redis_url": redis_url, "model": model}
    async with open_remote(**given) as one, open_remote(**given) as other:
        server.script.append(error(429, "slow down", {"Retry-After": "0.5"}))
        first = asyncio.create_task(one.embed(["one"], deadline=soon()))
        client = Redis.from_url(redis_url)
        key = f"{budget.KEY_PREFIX}{model}:budget"
        while not await client.hexists(key, "pause"):
            await asyncio.sleep(0.005)
        await other.embed(["other"], deadline=soon())
        await first
        assert 0 < await client.ttl(key) <= 62
        await client.aclose()
    assert all(request.at - server.requests[0].at >= 0.45 for request in server.requests[1:])


async def test_a_lifted_pause_is_noticed(
    server: EmbeddingServer, open_remote: OpenRemote, redis_url: str, model: str
) -> None:
    given = {"redis_url": redis_url, "model": model}
    async with open_remote(**given) as one, open_remote(**given) as other:
        server.script.append(error(429, "slow down", {"Retry-After": "3600"}))
        await limited(one, seconds=5)
        assert (await limited(other, seconds=5)).data.retry_after_seconds == pytest.approx(3600, abs=5)
        client = Redis.from_url(redis_url)
        await client.delete(f"{budget.KEY_PREFIX}{model}:budget")
        await client.aclose()
        await one.embed(["one"], deadline=soon())
        await other.embed(["other"], deadline=soon())


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A Redis of the test's own, which may be stopped."""
    port = free_port()
    program = redis.program(tmp_path / "redis", port, "test", durable=False)
    with running(program, tmp_path / "redis.log") as process:
        try:
            yield redis.url(port, "test"), process
        finally:
            process.send_signal(signal.SIGCONT)


async def test_a_frozen_redis_costs_a_moment_and_no_text(
    server: EmbeddingServer,
    open_remote: OpenRemote,
    own_redis: tuple[str, psutil.Process],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, process = own_redis
    monkeypatch.setattr(budget, "OUTAGE_SECONDS", 0.3)
    caplog.set_level(logging.INFO)
    async with open_remote(redis_url=url, requests_per_minute=6000) as embedder:
        await embedder.embed(["before"], deadline=soon())
        process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        await embedder.embed(["frozen"], deadline=soon())
        while time.monotonic() < started + 4 * budget.OUTAGE_SECONDS:
            await embedder.embed(["frozen still"], deadline=soon())
        assert "frozen still" in server.embedded
        assert caplog.text.count("while Redis is away") == 1
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(10):
            while "is shared again" not in caplog.text:
                await embedder.embed(["after"], deadline=soon())
    assert caplog.text.count("while Redis is away") == 1


async def test_without_redis_a_process_keeps_the_budget_by_itself(
    server: EmbeddingServer, open_remote: OpenRemote, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_remote(redis_url=NO_REDIS, requests_per_minute=1) as embedder:
        await embedder.embed(["first"], deadline=soon())
        await limited(embedder, seconds=5)
    assert caplog.text.count("while Redis is away") == 1


async def test_what_was_sent_counts_when_redis_goes_away(
    server: EmbeddingServer, open_remote: OpenRemote, own_redis: tuple[str, psutil.Process]
) -> None:
    url, process = own_redis
    async with open_remote(redis_url=url, requests_per_minute=1) as embedder:
        await embedder.embed(["first"], deadline=soon())
        process.send_signal(signal.SIGSTOP)
        await limited(embedder, seconds=5)
    assert server.embedded == ["first"]
