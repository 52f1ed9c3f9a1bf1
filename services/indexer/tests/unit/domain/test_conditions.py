import pytest

from quarry_common.contracts.documents import Condition
from quarry_common.errors import PreconditionFailedError
from quarry_indexer.domain.conditions import require


@pytest.mark.parametrize(
    ("condition", "revision"),
    [
        (None, None),
        (None, 3),
        (Condition(revisions=[3]), 3),
        (Condition(revisions=[1, 3]), 3),
        (Condition(), 3),
        (Condition(missing=True), None),
    ],
)
def test_a_condition_that_holds_lets_the_change_happen(
    condition: Condition | None, revision: int | None
) -> None:
    require(condition, revision)


@pytest.mark.parametrize(
    ("condition", "revision"),
    [
        (Condition(revisions=[2]), 3),
        (Condition(revisions=[]), 3),
        (Condition(revisions=[3]), None),
        (Condition(), None),
        (Condition(missing=True), 3),
    ],
)
def test_a_condition_that_does_not_hold_is_a_412(condition: Condition, revision: int | None) -> None:
    with pytest.raises(PreconditionFailedError) as refused:
        require(condition, revision)
    assert refused.value.data.status == 412
