"""When a purge goes on, and what its receipt says."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from quarry_common.ids import new_id
from quarry_tenants.domain.purges import Purge, added, is_silent, pause_after, receipt_of, silence

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FINISHED = Purge(
    tenant_id=new_id(),
    slug="acme",
    requested_at=NOW,
    started_at=NOW,
    finished_at=NOW,
    removed={"postgres.outbox": 3},
    left_over={"rows": {"postgres.outbox": 0}, "documents": {"postgres.outbox": 0, "vectors.points": 0}},
    clean_passes=2,
    failures=0,
    go_on_at=NOW,
    audit_entries=7,
    audit_head_hash=b"\xab",
)


def test_a_receipt_is_verified_when_nothing_was_left_twice() -> None:
    receipt = receipt_of(FINISHED)

    assert receipt.verified
    assert receipt.left == {"postgres.outbox": 0, "vectors.points": 0}
    assert (receipt.audit_entries, receipt.audit_head_hash) == (7, "ab")


@pytest.mark.parametrize(
    "change",
    [{"finished_at": None}, {"clean_passes": 1}, {"left_over": {"rows": {"postgres.outbox": 1}}}],
    ids=lambda change: next(iter(change)),
)
def test_it_is_not_before(change: dict[str, object]) -> None:
    assert not receipt_of(msgspec.structs.replace(FINISHED, **change)).verified


def test_what_stores_have_left_is_added_up_by_what_they_count() -> None:
    left_over = {"rows": {"postgres.outbox": 2}, "documents": {"postgres.outbox": 3}}

    assert receipt_of(msgspec.structs.replace(FINISHED, left_over=left_over)).left == {"postgres.outbox": 5}


def test_zeros_stay_named() -> None:
    assert added([{"a": 0}, {"b": 1}, {"b": 2}]) == {"a": 0, "b": 3}


def test_a_service_that_does_not_answer_has_something_left() -> None:
    done = silence("indexer")

    assert is_silent(done)
    assert done.left == {"no_answer.indexer": 1}


def test_pauses_grow_to_a_minute() -> None:
    pauses = [pause_after(failures) for failures in (1, 2, 3, 6, 7, 10_000)]

    assert pauses == [timedelta(seconds=seconds) for seconds in (2, 4, 8, 60, 60, 60)]
