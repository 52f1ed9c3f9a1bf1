from uuid import UUID

from qdrant_client import models

from quarry_common.contracts.filters import And, AnyOf, Field, Not, Or
from quarry_common.vectors.filters import Scope, corpus, visible

TENANT = UUID("01890000-0000-7000-8000-000000000001")
MINE = models.FieldCondition(key="tenant_id", match=models.MatchValue(value=str(TENANT)))


def test_the_tenant_is_an_outermost_condition_of_whatever_is_asked() -> None:
    foreign = AnyOf(Field.METADATA, ("x",), "tenant_id")
    for tree in (None, And(()), Or((foreign, Not(foreign))), Not(And((foreign,)))):
        asked = visible(Scope(TENANT, frozenset({"user:1"}), tree))

        assert isinstance(asked.must, list)
        assert asked.must[0] == MINE
        assert asked.should is None

        own = corpus(Scope(TENANT, frozenset(), tree)).must
        assert isinstance(own, list)
        assert own[0] == MINE


def test_metadata_never_reaches_a_field_of_quarrys_own() -> None:
    asked = visible(Scope(TENANT, filters=AnyOf(Field.METADATA, ("1",), 'x" or tenant_id')))

    assert isinstance(asked.must, list)
    condition = asked.must[-1]
    assert isinstance(condition, models.FieldCondition)
    assert condition.key == 'metadata."x%22 or tenant_id"'
