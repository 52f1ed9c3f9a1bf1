"""The connection to Qdrant: every call has a deadline, a span and typed errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import httpx
import msgspec
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from quarry_common import tls
from quarry_common.errors import DeadlineExceededError, UnavailableError
from quarry_common.settings import QdrantSettings
from quarry_common.telemetry import tracing
from quarry_common.vectors.errors import EmbedderMismatchError, VectorIndexError
from quarry_common.vectors.reads import IDLE_SECONDS, Reads

T = TypeVar("T")

READ_SECONDS = 5.0
WRITE_SECONDS = 30.0
HELD_SECONDS = 10.0
"""For writes during which rows of Postgres are held: shorter than a transaction may stand still."""
SCHEMA_SECONDS = 60.0

_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})


class Qdrant(msgspec.Struct, frozen=True):
    """One server: its client, and what asks the questions of every search."""

    client: AsyncQdrantClient
    reads: Reads


@asynccontextmanager
async def connect(settings: QdrantSettings) -> AsyncIterator[Qdrant]:
    """Yield the server; nothing is sent before the first call."""
    key = settings.qdrant_api_key.get_secret_value()
    # The deadlines of `call` are shorter; this one only frees a connection that they could not.
    seconds = int(SCHEMA_SECONDS) + 5
    context = tls.context(settings.qdrant_ca_file)
    client = AsyncQdrantClient(
        url=settings.qdrant_url,
        api_key=key or None,
        check_compatibility=False,
        timeout=seconds,
        verify=context,
    )
    session = aiohttp.ClientSession(
        headers={"Content-Type": "application/json"} | ({"api-key": key} if key else {}),
        connector=aiohttp.TCPConnector(keepalive_timeout=IDLE_SECONDS, ssl=context),
        timeout=aiohttp.ClientTimeout(total=seconds),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )
    try:
        yield Qdrant(client, Reads(session, settings.qdrant_url))
    finally:
        await session.close()
        await client.close()


async def call(operation: str, collection: str, answer: Awaitable[T], *, seconds: float) -> T:
    """Return `answer`, the call of `operation`, within `seconds`.

    Raises `DeadlineExceededError`, `UnavailableError` when Qdrant cannot be reached or cannot answer now,
    `EmbedderMismatchError` when the collection does not exist, and `VectorIndexError` when Qdrant refuses.
    """
    attributes = {
        "db.system.name": "qdrant",
        "db.operation.name": operation,
        "db.collection.name": collection,
    }
    with tracing.span(f"qdrant {operation}", kind=tracing.CLIENT, attributes=attributes):
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise DeadlineExceededError(
                f"The vector index did not answer {operation} within {seconds:g} s.", retry_after_seconds=2
            ) from None
        except UnexpectedResponse as error:
            raise _refusal(operation, collection, error) from error
        except QdrantException as error:
            raise UnavailableError(
                f"The vector index has too much to do: {error}", retry_after_seconds=2
            ) from error
        except msgspec.ValidationError as error:
            raise VectorIndexError(
                f"The vector index answered {operation} in another form: {error}"
            ) from error
        except (ApiException, httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error


def _unreachable(error: Exception) -> UnavailableError:
    fault = tls.fault(error, "The vector index", "QDRANT_URL", "QDRANT")
    if fault is None:
        return UnavailableError("The vector index cannot be reached.", retry_after_seconds=2)
    return UnavailableError(fault.detail, advice=fault.advice)


def _refusal(operation: str, collection: str, error: UnexpectedResponse) -> Exception:
    said = bytes(error.content[:500]).decode(errors="replace")
    if error.status_code in _TEMPORARY:
        return UnavailableError(f"The vector index cannot do {operation} now: {said}", retry_after_seconds=2)
    if error.status_code == 404:
        return EmbedderMismatchError(f"The vector index has no collection {collection}.")
    return VectorIndexError(f"The vector index refused {operation} ({error.status_code}): {said}")
