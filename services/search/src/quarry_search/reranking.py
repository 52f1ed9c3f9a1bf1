"""A reranker behind HTTP, as Cohere, Jina, vLLM and others serve it: `POST` a query and texts, get scores."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec

from quarry_common.errors import UnavailableError
from quarry_search.settings import SearchSettings

MAX_ANSWER_BYTES = 1 << 20


class _Scored(msgspec.Struct, frozen=True):
    index: int
    relevance_score: float


class _Answer(msgspec.Struct, frozen=True):
    results: list[_Scored]


class RerankerError(UnavailableError):
    """The reranker did not answer in time, or not with scores."""

    code = "reranker_failed"
    title = "The reranker failed"


class Reranker:
    """Scores texts by how well they answer a query."""

    def __init__(self, http: httpx.AsyncClient, settings: SearchSettings) -> None:
        self._http = http
        self._settings = settings
        self.candidates = settings.reranker_candidates

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return one score per text. Raises `RerankerError`."""
        settings = self._settings
        body = {
            "model": settings.reranker_model,
            "query": query,
            "documents": list(texts),
            "top_n": len(texts),
        }
        try:
            async with asyncio.timeout(settings.reranker_timeout_seconds):
                answer = await self._post(msgspec.json.encode(body))
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            raise RerankerError(f"The reranker did not answer: {type(error).__name__}.") from error
        scores: list[float | None] = [None] * len(texts)
        for scored in answer.results:
            if 0 <= scored.index < len(scores):
                scores[scored.index] = scored.relevance_score
        if any(score is None for score in scores):
            raise RerankerError("The reranker did not score every text.")
        return [score for score in scores if score is not None]

    async def _post(self, body: bytes) -> _Answer:
        async with self._http.stream("POST", self._settings.reranker_url, content=body) as response:
            if response.status_code != 200:
                raise RerankerError(f"The reranker answered with status {response.status_code}.")
            content = bytearray()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise RerankerError("The reranker's answer is too large.")
        try:
            return msgspec.json.decode(content, type=_Answer)
        except msgspec.MsgspecError as error:
            raise RerankerError("The reranker's answer cannot be read.") from error


@asynccontextmanager
async def open_reranker(settings: SearchSettings) -> AsyncIterator[Reranker | None]:
    """Yield the reranker of `RERANKER_URL`, or None when there is none."""
    if not settings.reranker_url:
        yield None
        return
    key = settings.reranker_api_key.get_secret_value()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    timeout = httpx.Timeout(settings.reranker_timeout_seconds)
    async with httpx.AsyncClient(headers=headers, timeout=timeout, follow_redirects=False) as http:
        yield Reranker(http, settings)
