"""The chain of an audit log: what an entry's hash is over, and whether entries follow from each other."""

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from quarry_common.contracts.audit import AuditAct, AuditVerdict, Facts

MAX_TEXT: Final = 500
"""Characters of an action or a target that are kept."""
MAX_FACTS_BYTES: Final = 16_384


class Head(msgspec.Struct, frozen=True):
    """The end of a log: its last entry's number and hash; 0 and no bytes of an empty one."""

    number: int
    hash: bytes


class Entry(msgspec.Struct, frozen=True):
    """An entry as it is stored. `actor`, `before` and `after` are JSON, hashed as they stand."""

    number: int
    at: datetime
    actor: str
    action: str
    target: str
    outcome: str
    before: str | None
    after: str | None
    previous_hash: bytes
    hash: bytes = b""


def entry_of(act: AuditAct, head: Head, now: datetime) -> Entry:
    """Return the entry that follows `head` and tells of `act`."""
    entry = Entry(
        number=head.number + 1,
        at=(act.at or now).astimezone(UTC),
        actor=msgspec.json.encode(act.actor).decode(),
        action=_text(act.action),
        target=_text(act.target),
        outcome=act.outcome.value,
        before=_facts(act.before),
        after=_facts(act.after),
        previous_hash=head.hash,
    )
    return msgspec.structs.replace(entry, hash=hash_of(entry))


def hash_of(entry: Entry) -> bytes:
    """Return SHA-256 of everything in `entry` but its hash."""
    told = (
        entry.number,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.target,
        entry.outcome,
        entry.before,
        entry.after,
        entry.previous_hash.hex(),
    )
    return hashlib.sha256(msgspec.json.encode(told)).digest()


class Chain:
    """Follows a log from its first entry to its last; the first fault is kept."""

    def __init__(self) -> None:
        self.end = Head(0, b"")
        """The last entry that was looked at."""
        self._fault: tuple[int, str] | None = None

    def follow(self, entry: Entry) -> None:
        """Look at the next entry."""
        before, self.end = self.end, Head(entry.number, entry.hash)
        if self._fault is not None:
            return
        if entry.number != before.number + 1:
            self._fault = before.number + 1, "is missing"
        elif entry.previous_hash != before.hash:
            self._fault = entry.number, "does not follow from the entry before it"
        elif entry.hash != hash_of(entry):
            self._fault = entry.number, "was changed"

    def verdict(self, head: Head) -> AuditVerdict:
        """Return whether the log is whole up to `head`, where it ended when it was last written."""
        fault = self._fault
        if fault is None and self.end.number < head.number:
            fault = self.end.number + 1, "is missing"
        elif fault is None and self.end != head:
            fault = self.end.number, "is not the one that was written last"
        return AuditVerdict(
            intact=fault is None,
            entries=self.end.number,
            head_number=head.number,
            head_hash=head.hash.hex(),
            first_fault=fault[0] if fault else None,
            fault=f"Entry {fault[0]} {fault[1]}." if fault else "",
        )


def _text(value: str) -> str:
    # Postgres' text cannot hold U+0000; in JSON it is escaped.
    return value.replace("\0", "")[:MAX_TEXT]


def _facts(facts: Facts | None) -> str | None:
    if facts is None:
        return None
    encoded = msgspec.json.encode(facts, order="deterministic")
    if len(encoded) > MAX_FACTS_BYTES:
        encoded = msgspec.json.encode({"omitted": f"{len(encoded)} bytes"})
    return encoded.decode()
