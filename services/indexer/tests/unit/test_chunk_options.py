import pytest

from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.domain.collection_settings import Indexing
from quarry_indexer.indexing.reading import chunk_options

PLATFORM = ChunkOptions(200, 100)


@pytest.mark.parametrize(
    ("indexing", "options"),
    [
        (Indexing(), PLATFORM),
        (Indexing(title_boost=3), PLATFORM),
        (Indexing(chunk_tokens=64, chunk_overlap=8), ChunkOptions(64, 8)),
        (Indexing(chunk_overlap=0), ChunkOptions(200, 0)),
        (Indexing(chunk_tokens=64), ChunkOptions(64, 31)),
        (Indexing(chunk_tokens=33), ChunkOptions(33, 16)),
    ],
)
def test_a_collection_is_cut_as_it_says_and_else_as_the_platform_does(
    indexing: Indexing, options: ChunkOptions
) -> None:
    assert chunk_options(indexing, PLATFORM) == options
