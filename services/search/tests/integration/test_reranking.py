"""Results that a reranker orders anew, and what is answered when it fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quarry_common.contracts.search import Answer, Query, RerankOutcome, SearchMode
from quarry_common.settings import load
from quarry_search.reranking import open_reranker
from quarry_search.searching import Searcher
from quarry_search.settings import SearchSettings
from quarry_search.timings import Timings

from .conftest import Search

KEYWORD = SearchMode.KEYWORD

Respond = Callable[[dict[str, Any]], tuple[int, object]]


@asynccontextmanager
async def reranking(search: Search, respond: Respond, **settings: str) -> AsyncIterator[Searcher]:
    """A searcher with a reranker that answers as `respond` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        status, body = respond(json.loads(await reader.readexactly(length)))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status:
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(content))
            )
            writer.write(content)
            await writer.drain()
        else:
            await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = {"RERANKER_URL": f"http://127.0.0.1:{port}/rerank", "RERANKER_TIMEOUT_SECONDS": "0.5", **settings}
    async with server, open_reranker(load(SearchSettings, given)) as reranker:
        yield Searcher(search.index, Local(search), reranker)


class Local:
    """The test's embedder as the searcher uses one."""

    def __init__(self, search: Search) -> None:
        inner = search.embedder
        self.id, self.dimensions, self.max_tokens, self._inner = (
            inner.id,
            inner.dimensions,
            inner.max_tokens,
            inner,
        )

    async def embed(self, texts: Any, *, deadline: float, owner: str = "") -> Any:
        return self._inner.embed(texts)

    async def close(self) -> None:
        return None


def shortest_first(request: dict[str, Any]) -> tuple[int, object]:
    scores = [{"index": n, "relevance_score": -len(text)} for n, text in enumerate(request["documents"])]
    return 200, {"results": scores[::-1]}


class TestReranking:
    async def _ask(self, searcher: Searcher, search: Search, **options: Any) -> Answer:
        query = Query(search.tenant_id, "stone", mode=KEYWORD, rerank=True, **options)
        return await searcher.search(query, Timings())

    async def test_the_reranker_orders_the_best_results(self, search: Search) -> None:
        await search.store("stone stone and stone again", "a stone", "stone")

        async with reranking(search, shortest_first) as searcher:
            answer = await self._ask(searcher, search, explain=True)

        assert [result.text for result in answer.results] == [
            "stone",
            "a stone",
            "stone stone and stone again",
        ]
        assert answer.rerank is RerankOutcome.DONE
        first = answer.results[0].explanation
        assert first is not None
        assert first.rerank is not None
        assert first.rerank.rank == 1

    async def test_what_is_beyond_its_candidates_stays_behind_them(self, search: Search) -> None:
        await search.store("stone", "a stone stone", "stone stone stone")
        before = await search.texts("stone", mode=KEYWORD)

        async with reranking(search, shortest_first, RERANKER_CANDIDATES="2") as searcher:
            answer = await self._ask(searcher, search)

        texts = [result.text for result in answer.results]
        assert answer.rerank is RerankOutcome.DONE
        assert texts[:2] == sorted(before[:2], key=len)
        assert texts[2] == before[2]

    @pytest.mark.parametrize(
        "reply",
        [
            pytest.param((500, b"no"), id="500"),
            pytest.param((200, b"no JSON"), id="garbage"),
            pytest.param((200, {"results": []}), id="nothing"),
            pytest.param((200, {"results": [{"index": 9, "relevance_score": 1}]}), id="another index"),
            pytest.param((0, b""), id="slow"),
        ],
    )
    async def test_when_it_fails_the_order_stays_and_the_answer_says_so(
        self, search: Search, reply: tuple[int, object]
    ) -> None:
        await search.store("stone stone and stone again", "a stone", "stone")
        before = await search.texts("stone", mode=KEYWORD)

        async with reranking(search, lambda _: reply) as searcher:
            answer = await self._ask(searcher, search)

        assert [result.text for result in answer.results] == before
        assert answer.rerank is RerankOutcome.FAILED

    async def test_one_that_is_not_there_is_told_too(self, search: Search) -> None:
        await search.store("stone")

        answer = await search.ask("stone", rerank=True)

        assert answer.rerank is RerankOutcome.FAILED
        assert (await search.ask("stone")).rerank is RerankOutcome.NOT_ASKED
