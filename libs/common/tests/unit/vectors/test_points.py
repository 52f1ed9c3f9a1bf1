from hypothesis import given
from hypothesis import strategies as st

from quarry_common.vectors.points import metadata_key, metadata_name
from quarry_common.vectors.schema import collection_name


@given(st.text())
def test_a_metadata_name_comes_back_from_its_key(name: str) -> None:
    key = metadata_key(name)

    assert key
    assert '"' not in key
    assert metadata_name(key) == name


@given(st.text(alphabet='%"25'), st.text(alphabet='%"25'))
def test_two_names_never_share_a_key(one: str, other: str) -> None:
    assert (metadata_key(one) == metadata_key(other)) == (one == other)


def test_an_embedders_collection_is_told_by_its_id() -> None:
    assert collection_name("all-MiniLM-L6-v2@0a1b2c3d") == "chunks_all-MiniLM-L6-v2_0a1b2c3d"
    assert collection_name("openai/text-embedding 3") == "chunks_openai_text-embedding_3"
