"""The chain of an audit log."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from quarry_common.contracts.audit import Actor, AuditAct, AuditVerdict
from quarry_common.ids import new_id
from quarry_tenants.domain.audit import Chain, Entry, Head, entry_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def log(count: int) -> list[Entry]:
    head, entries = Head(0, b""), []
    for number in range(count):
        act = AuditAct(new_id(), Actor(), "api_key.created", str(number), after={"name": f"key {number}"})
        entries.append(entry_of(act, head, NOW))
        head = Head(entries[-1].number, entries[-1].hash)
    return entries


def verdict(entries: list[Entry], head: Head) -> AuditVerdict:
    chain = Chain()
    for entry in entries:
        chain.follow(entry)
    return chain.verdict(head)


def head_of(entries: list[Entry]) -> Head:
    return Head(entries[-1].number, entries[-1].hash)


def test_a_log_as_it_was_written_is_intact() -> None:
    entries = log(5)

    found = verdict(entries, head_of(entries))

    assert (found.intact, found.entries, found.head_number) == (True, 5, 5)
    assert found.head_hash == entries[-1].hash.hex()


def test_a_log_without_entries_is_intact() -> None:
    assert verdict([], Head(0, b"")).intact


@pytest.mark.parametrize(
    "change",
    [
        {"at": datetime(2026, 11, 2, tzinfo=UTC)},
        {"actor": "{}"},
        {"action": "api_key.revoked"},
        {"target": "another"},
        {"outcome": "denied"},
        {"before": "{}"},
        {"after": None},
        {"hash": b"x" * 32},
        {"previous_hash": b"x" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_every_change_of_an_entry_shows(change: dict[str, Any], place: int) -> None:
    entries = log(5)
    head = head_of(entries)
    entries[place] = msgspec.structs.replace(entries[place], **change)

    found = verdict(entries, head)

    assert not found.intact
    # A hash that was changed is told at that entry, or at the one that holds it.
    assert found.first_fault in {place + 1, place + 2}


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_missing_entry_shows(place: int) -> None:
    entries = log(5)
    head = head_of(entries)
    del entries[place]

    found = verdict(entries, head)

    assert (found.intact, found.first_fault) == (False, place + 1)


def test_an_entry_that_was_added_at_the_end_shows() -> None:
    entries = log(4)

    assert verdict(entries, head_of(entries[:3])).first_fault == 4


def test_large_facts_are_left_out() -> None:
    act = AuditAct(new_id(), Actor(), "document.added", "x", after={"text": "x" * 100_000})

    assert entry_of(act, Head(0, b""), NOW).after == '{"omitted":"100011 bytes"}'
