"""One request to an endpoint that speaks OpenAI's embeddings API, and what its answer means."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

import httpx
import msgspec
import numpy as np

from quarry_common.embedding import hints
from quarry_common.embedding.errors import (
    EmbedderDimensionsError,
    EmbedderFailedError,
    EmbedderLimitedError,
    EmbedderRefusedError,
    EmbedderUnauthorizedError,
    TextRefusedError,
)
from quarry_common.embedding.metrics import EMBEDDER_REQUEST_SECONDS, EMBEDDER_TEXTS
from quarry_common.embedding.protocol import Vectors
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.errors import QuarryError, UnavailableError

CONNECT_SECONDS = 5.0
EXCERPT_CHARACTERS = 200
ANSWER_BYTES = 1 << 20
"""Of an answer besides its vectors; of one that is an error, all."""
BYTES_PER_NUMBER = 40
"""Of a vector's number as JSON, indented at worst."""
MOST_DIMENSIONS = 65_536

_ABOUT_THE_TEXTS = frozenset({400, 413, 422})
_ABOUT_THE_KEY = frozenset({401, 402, 403})


class _Entry(msgspec.Struct, frozen=True):
    embedding: list[float]
    index: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    data: list[_Entry]


class _Fault(msgspec.Struct, frozen=True):
    message: str


class _Refusal(msgspec.Struct, frozen=True):
    error: _Fault


_decode = msgspec.json.Decoder(_Answer).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode
_encode = msgspec.json.Encoder().encode


class Endpoint:
    """Asks for vectors, once per call and without waiting for any limit."""

    def __init__(self, settings: EmbedderSettings) -> None:
        self._address = f"{settings.embedder_url}/embeddings"
        self._key = settings.embedder_api_key.get_secret_value()
        self._timeout_seconds = settings.embedder_timeout_seconds
        self._fields: dict[str, object] = {"model": settings.embedder_model, "encoding_format": "float"}
        if settings.embedder_dimensions and settings.embedder_send_dimensions:
            self._fields["dimensions"] = settings.embedder_dimensions
        self.dimensions = settings.embedder_dimensions
        """Length of a vector; 0 takes what comes."""
        # Proxies and certificates of the environment hold, as for every request that leaves the installation.
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(None, connect=min(CONNECT_SECONDS, self._timeout_seconds)),
            limits=httpx.Limits(max_connections=settings.embedder_concurrency, keepalive_expiry=30),
        )

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 per text, in the same order.

        Raises `EmbedderLimitedError` when a rate limit is reached, `UnavailableError` when nobody can be
        reached, `EmbedderFailedError` on a failure, no answer in time or an answer of the wrong form,
        `EmbedderDimensionsError` when the vectors have another length, `TextRefusedError` when what was sent
        is refused, `EmbedderRefusedError` when any request would be, `EmbedderUnauthorizedError` when the
        key is.
        """
        outcome = "cancelled"
        with EMBEDDER_REQUEST_SECONDS.time():
            try:
                vectors = await self._ask(texts)
                outcome = "embedded"
            except QuarryError as error:
                outcome = error.data.code
                raise
            finally:
                EMBEDDER_TEXTS.labels(outcome).inc(len(texts))
        return vectors

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, texts: Sequence[str]) -> Vectors:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response, body = await self._exchange(texts)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
            raise EmbedderFailedError(
                f"{self._address} did not answer within {self._timeout_seconds:g} s."
            ) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnavailableError(
                f"{self._address} cannot be reached: {self._excerpt(str(error)) or 'no connection in time'}.",
                advice="Start the endpoint, or correct EMBEDDER_URL.",
                retry_after_seconds=5,
            ) from error
        except httpx.HTTPError as error:
            raise EmbedderFailedError(
                f"{self._address} broke off its answer: {self._excerpt(str(error)) or type(error).__name__}."
            ) from error
        if response.status_code != HTTPStatus.OK:
            raise self._refusal(response, body)
        return self._vectors(body, len(texts))

    async def _exchange(self, texts: Sequence[str]) -> tuple[httpx.Response, bytes]:
        content = _encode({**self._fields, "input": texts})
        allowed = ANSWER_BYTES + len(texts) * (self.dimensions or MOST_DIMENSIONS) * BYTES_PER_NUMBER
        body = bytearray()
        async with self._http.stream(
            "POST", self._address, content=content, headers={"Content-Type": "application/json"}
        ) as response:
            if response.status_code != HTTPStatus.OK:
                allowed = ANSWER_BYTES
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > allowed:
                    raise EmbedderFailedError(f"{self._address} answered with more than {allowed} bytes.")
        return response, bytes(body)

    def _vectors(self, body: bytes, count: int) -> Vectors:
        try:
            entries = _decode(body).data
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._garbage(f"what is no list of vectors ({error})") from error
        if len(entries) != count:
            raise self._garbage(f"{len(entries)} vectors for {count} texts")
        if all(entry.index is not None for entry in entries):
            ordered = {entry.index: entry.embedding for entry in entries}
            if ordered.keys() != set(range(count)):
                raise self._garbage("vectors whose numbers are not those of the texts")
            rows = [ordered[index] for index in range(count)]
        else:
            rows = [entry.embedding for entry in entries]
        lengths = {len(row) for row in rows}
        expected = self.dimensions or max(lengths)
        if lengths != {expected} or not expected:
            raise EmbedderDimensionsError(
                f"{self._address} gave vectors of {max(lengths - {expected}, default=0)} dimensions, "
                f"not of {expected}."
            )
        vectors = np.array(rows, dtype=np.float64)
        # Each by its largest number first: the square of a number may be beyond what a float holds.
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        if not np.isfinite(largest).all() or not largest.all():
            raise self._garbage("a vector that is zero or no number")
        vectors /= largest
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float32)

    def _refusal(self, response: httpx.Response, body: bytes) -> QuarryError:
        status = response.status_code
        said = self._excerpt(_message(body))
        told = f"{self._address} answered {status}{f': {said}' if said else ''}"
        wait = hints.retry_after_seconds(response.headers)
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait):
            if wait is None:
                wait = hints.reset_seconds(response.headers)
            return EmbedderLimitedError(told, retry_after_seconds=wait)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            return EmbedderFailedError(told)
        if status in _ABOUT_THE_KEY:
            return EmbedderUnauthorizedError(told)
        return TextRefusedError(told) if status in _ABOUT_THE_TEXTS else EmbedderRefusedError(told)

    def _garbage(self, what: str) -> EmbedderFailedError:
        return EmbedderFailedError(f"{self._address} answered with {what}.")

    def _excerpt(self, said: str) -> str:
        """Return the beginning of what a stranger said, on one line and without our key."""
        if self._key:
            said = said.replace(self._key, "[key]")
        return " ".join(said.split())[:EXCERPT_CHARACTERS].rstrip(". ")


def _message(body: bytes) -> str:
    """Return the sentence of an error in OpenAI's form, else the body as text."""
    try:
        return _decode_refusal(body).error.message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")
