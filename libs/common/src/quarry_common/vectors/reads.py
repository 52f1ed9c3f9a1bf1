"""What every search asks of Qdrant, without the client's own models and HTTP stack.

Those cost more than the rest of a search: two thirds of the search service's time. What is asked and answered
is the same REST API.
"""

from typing import Final, Generic, TypeVar

import aiohttp
import httpx
import msgspec
from qdrant_client.http.exceptions import UnexpectedResponse

from quarry_common.vectors.points import CodedPassage

T = TypeVar("T")

IDLE_SECONDS: Final = 4.0
"""Qdrant closes a connection on which nothing was asked for five."""


class SparseValues(msgspec.Struct, frozen=True):
    """A keyword vector as Qdrant takes it."""

    indices: list[int]
    values: list[float]


class IdfCorpus(msgspec.Struct, frozen=True):
    """The points over which IDF is taken."""

    corpus: msgspec.Raw


class Params(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the index is searched."""

    hnsw_ef: int | None = None
    idf: IdfCorpus | None = None


class Leg(msgspec.Struct, frozen=True):
    """One ranked list to be asked for."""

    query: list[float] | SparseValues
    using: str
    filter: msgspec.Raw
    params: Params
    limit: int
    with_payload: bool | list[str] = False
    with_vector: bool = False


class Document(msgspec.Struct, frozen=True):
    """Which version of which document a point belongs to."""

    document_id: str
    version: int


class Scored(msgspec.Struct, frozen=True):
    """A point of a ranked list."""

    id: str
    score: float
    payload: Document | None = None


class Scroll(msgspec.Struct, frozen=True):
    """Points to be read."""

    filter: msgspec.Raw
    limit: int
    with_payload: bool | list[str] = True
    with_vector: bool = False


class Record(msgspec.Struct, Generic[T], frozen=True):
    """A point that was read."""

    id: str
    payload: T


class _Points(msgspec.Struct, Generic[T], frozen=True):
    points: list[T]


class _Answer(msgspec.Struct, Generic[T], frozen=True):
    result: T


_encode = msgspec.json.Encoder().encode
_ranked = msgspec.json.Decoder(_Answer[_Points[Scored]]).decode
_passages = msgspec.json.Decoder(_Answer[_Points[Record[CodedPassage]]]).decode
_entries = msgspec.json.Decoder(_Answer[_Points[Record[dict[str, object]]]]).decode


class Reads:
    """Asks one server over connections of `session`; belongs to its event loop.

    Every method raises as `AsyncQdrantClient` does, `aiohttp.ClientError` in place of httpx's errors, and
    `msgspec.ValidationError` for an answer of another form.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def ranked(self, collection: str, leg: Leg) -> list[Scored]:
        """Return the list that `leg` asks for, best first."""
        return _ranked(await self._post(collection, "query", leg)).result.points

    async def passages(self, collection: str, asked: Scroll) -> list[Record[CodedPassage]]:
        """Return points with all that a search shows of them, and the codes of their dense vectors."""
        return _passages(await self._post(collection, "scroll", asked)).result.points

    async def entries(self, collection: str, asked: Scroll) -> list[Record[dict[str, object]]]:
        """Return points with entries of their payloads."""
        return _entries(await self._post(collection, "scroll", asked)).result.points

    async def _post(self, collection: str, operation: str, body: msgspec.Struct) -> bytes:
        url = f"{self._url}/collections/{collection}/points/{operation}"
        content = _encode(body)
        try:
            return await self._send(url, content)
        except aiohttp.ServerDisconnectedError:
            # The server may close an idle connection in the moment in which it is used again.
            return await self._send(url, content)

    async def _send(self, url: str, content: bytes) -> bytes:
        async with self._session.post(url, data=content) as response:
            answer = await response.read()
            if response.status != 200:
                reason = response.reason or ""
                raise UnexpectedResponse(response.status, reason, answer, httpx.Headers(response.headers))
            return answer
