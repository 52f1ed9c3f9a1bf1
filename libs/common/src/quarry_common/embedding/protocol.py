from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""Shape (number of texts, dimensions); every row has length 1."""


class Embedder(Protocol):
    """Turns texts into vectors whose inner product is their likeness.

    Two embedders with the same `id` give the same vector for the same text; the id is what an index is
    bound to.
    """

    @property
    def id(self) -> str:
        """Model and a digest of all that shapes a vector, such as `all-MiniLM-L6-v2@0a1b2c3d`."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count (the model's own special tokens left out); what follows is not seen."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 per text, in the same order. Blocks: call it through
        `EmbedderPool`."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each whole text has, without special tokens."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of every token of the whole text, in characters."""


class AsyncEmbedder(Protocol):
    """An embedder as services use it: on the event loop, for many callers at a time.

    What `Embedder` says of the id holds here too.
    """

    @property
    def id(self) -> str:
        """Model and a digest of all that shapes a vector, such as `all-MiniLM-L6-v2@0a1b2c3d`."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count; what follows is not seen."""

    async def embed(self, texts: Sequence[str], *, deadline: float, owner: str = "") -> Vectors:
        """Return one vector of length 1 per text, in the same order.

        `deadline` is a moment of the running loop's `time()`. `owner` is whom the texts belong to: where
        there is not enough for all, owners take turns. Raises `EmbedderBusyError` when too much waits
        already, `DeadlineExceededError` when the deadline passes, and what stands in the way besides.
        """

    async def close(self) -> None:
        """Refuse what waits and let go of what is held."""
