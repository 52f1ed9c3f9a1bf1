"""The local embedder's tokenizer alone: a process that only counts tokens loads neither weights nor
onnxruntime."""

import os
from collections.abc import Sequence

from tokenizers import Tokenizer

from quarry_common.embedding.model_files import TOKENIZER, TOKENIZER_SHA256, model_file, read_checked


class LocalTokenizer:
    """Counts the tokens of whole texts, without truncation. Safe to call from several threads."""

    def __init__(self, source: str) -> None:
        # The file asks for truncation and padding to 128 tokens; neither is wanted.
        self._tokenizer = Tokenizer.from_str(source)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each whole text has, without special tokens."""
        return [
            len(item) for item in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of every token of the whole text, in characters."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)


def read_tokenizer() -> str:
    """Return the tokenizer's file. Raises `ModelError` when it is not the expected one."""
    # The threads that the settings allow are the model's; the tokenizer would take all cores beside them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return read_checked(model_file(TOKENIZER), TOKENIZER_SHA256).decode()


def load_local_tokenizer() -> LocalTokenizer:
    """Return the local embedder's tokenizer. Raises `ModelError` when its file is not the expected one."""
    return LocalTokenizer(read_tokenizer())
