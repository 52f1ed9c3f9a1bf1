import pytest

from quarry_common.embedding.tokenizer import load_local_tokenizer
from quarry_indexer.chunking.chunk import TokenCounter


@pytest.fixture(scope="session")
def tokens() -> TokenCounter:
    """The default embedder's own tokenizer."""
    return load_local_tokenizer()
