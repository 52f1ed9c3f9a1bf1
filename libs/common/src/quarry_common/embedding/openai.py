"""The remote embedder: any endpoint that speaks OpenAI's embeddings API, within its rate limits.

docs/embedders.md tells what becomes of each answer of the endpoint.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np

from quarry_common.embedding.budget import Budget, open_budget
from quarry_common.embedding.dispatch import Dispatcher, retold
from quarry_common.embedding.endpoint import Endpoint
from quarry_common.embedding.pool import EmbedderBusyError
from quarry_common.embedding.protocol import Vectors
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.embedding.sizes import fit
from quarry_common.embedding.tokenizer import LocalTokenizer, load_local_tokenizer
from quarry_common.embedding.waiting import Call, Item
from quarry_common.errors import DeadlineExceededError, UnavailableError
from quarry_common.telemetry import tracing

RECIPE = "openai;float;l2;1"
"""Everything besides model and dimensions that shapes a vector; a change makes another embedder id."""
PROBE = "How long is a vector?"
PROBE_SECONDS = 30.0


class OpenAIEmbedder:
    """Embeds through an endpoint. Belongs to the event loop that it is opened on: see `open_openai`."""

    def __init__(
        self, settings: EmbedderSettings, endpoint: Endpoint, budget: Budget, tokenizer: LocalTokenizer
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._budget = budget
        self._tokenizer = tokenizer
        self._dispatcher = Dispatcher(settings, endpoint, budget)
        self._calls: set[Call] = set()
        self._waiting = 0
        self._closed = False

    @property
    def id(self) -> str:
        """Model and a digest of what shapes a vector; not the address, which may change."""
        recipe = f"{self._settings.embedder_model};{self.dimensions};{RECIPE}"
        return f"{self._settings.embedder_model}@{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._endpoint.dimensions

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count; what follows is cut off."""
        return self._settings.embedder_max_tokens

    async def embed(self, texts: Sequence[str], *, deadline: float, owner: str = "") -> Vectors:
        """Return one vector of length 1 per text, in the same order.

        `deadline` is a moment of the running loop's `time()`; `owner` is whom the texts belong to. What may
        pass is tried again until then. An error is the caller's whose text met with it and ends the whole
        call, not the calls whose texts were in the same request.

        Raises `EmbedderBusyError` when too much waits already; `EmbedderLimitedError` when a rate limit or
        the budget leaves no time before the deadline; `UnavailableError` when the endpoint cannot be reached;
        `EmbedderFailedError` when it keeps failing; `EmbedderRefusedError` when it refuses a text or every
        request; `EmbedderUnauthorizedError` when it refuses the key; `DeadlineExceededError` when the
        deadline passed before anything of that was known.
        """
        if self._closed:
            raise _stopping()
        most = self._settings.embedder_max_waiting
        if self._waiting + len(texts) > most:
            raise EmbedderBusyError(
                f"{self._waiting} texts wait for the embedder; at most {most} may", retry_after_seconds=1
            )
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        call = Call(len(texts), deadline)
        self._calls.add(call)
        self._waiting += len(texts)
        try:
            with tracing.span("embed remotely", kind=tracing.CLIENT, attributes={"texts": len(texts)}):
                return await self._embed(call, texts, owner)
        finally:
            self._waiting -= len(texts)
            self._calls.discard(call)
            if not call.vectors.cancel() and not call.vectors.cancelled():
                call.vectors.exception()  # or it is reported as lost when the caller went at the same moment

    async def close(self) -> None:
        """Refuse what waits and what is under way; close the connections."""
        self._closed = True
        for call in self._calls:
            call.fail(_stopping())
        await self._dispatcher.close()
        await self._endpoint.close()
        await self._budget.close()

    async def learn_dimensions(self) -> None:
        """Ask the endpoint for the length of its vectors, unless it is known. Raises as `embed` does."""
        if not self.dimensions:
            deadline = asyncio.get_running_loop().time() + PROBE_SECONDS
            self._endpoint.dimensions = (await self.embed([PROBE], deadline=deadline)).shape[1]

    async def _embed(self, call: Call, texts: Sequence[str], owner: str) -> Vectors:
        try:
            async with asyncio.timeout_at(call.deadline):
                sized = await asyncio.to_thread(fit, self._tokenizer, texts, self.max_tokens)
                self._dispatcher.submit([Item(text, call, row, owner) for row, text in enumerate(sized)])
                return await call.vectors
        except TimeoutError:
            if call.error is not None:
                raise retold(call.error) from None
            if self._dispatcher.held_until:
                raise self._dispatcher.held_up(call) from None
            raise DeadlineExceededError(
                "The texts were not embedded in time", retry_after_seconds=1
            ) from None


@asynccontextmanager
async def open_openai(settings: EmbedderSettings) -> AsyncIterator[OpenAIEmbedder]:
    """Yield the embedder of the endpoint that the settings name, and close it.

    Raises as `OpenAIEmbedder.embed` does when the dimensions must be asked for and are not told within 30 s.
    """
    tokenizer = await asyncio.to_thread(load_local_tokenizer)
    embedder = OpenAIEmbedder(settings, Endpoint(settings), open_budget(settings), tokenizer)
    try:
        await embedder.learn_dimensions()
        yield embedder
    finally:
        await embedder.close()


def _stopping() -> UnavailableError:
    return UnavailableError("The embedder is being stopped", retry_after_seconds=1)
