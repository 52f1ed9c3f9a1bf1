from itertools import pairwise
from uuid import UUID

from quarry_common.ids import chunk_id_for, document_id_for, new_id


def test_later_ids_sort_later() -> None:
    made = [new_id() for _ in range(10_000)]

    assert all(one < other for one, other in pairwise(made))
    assert {identity.version for identity in made} == {7}


def test_writers_agree_on_the_id_of_an_external_id() -> None:
    tenant, other = UUID(int=1), UUID(int=2)

    assert document_id_for(tenant, "c", "x") == document_id_for(tenant, "c", "x")
    ids = {
        document_id_for(*key)
        for key in [
            (tenant, "c", "x"),
            (other, "c", "x"),
            (tenant, "d", "x"),
            (tenant, "c", "y"),
            (tenant, "cx", ""),
        ]
    }
    assert len(ids) == 5


def test_every_chunk_of_every_version_has_an_id_of_its_own() -> None:
    ids = {chunk_id_for(UUID(int=1), version, ordinal) for version in range(20) for ordinal in range(20)}

    assert len(ids) == 400
