"""Which of the documents that are asked for are taken in, and why the others are not: decided in their order,
before anything is written."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

from quarry_common.contracts.documents import BatchItem, Condition, Room
from quarry_common.contracts.jobs import Priority
from quarry_common.contracts.usage import Quota
from quarry_common.errors import QuarryError
from quarry_indexer.domain import quotas
from quarry_indexer.domain.conditions import require
from quarry_indexer.domain.errors import ExternalIdTakenError, NoRoomError
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.repository.documents import DocumentRow


class Asked(NamedTuple):
    """A document on its way in."""

    place: int
    item: BatchItem
    id: UUID
    digest: bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of its body."""
        return self.item.blob.size_bytes if self.item.blob else 0


class Terms(NamedTuple):
    """What holds for all documents of a request."""

    upsert: bool
    priority: Priority
    room: Room
    condition: Condition | None = None


class Standing(msgspec.Struct, frozen=True):
    """How a document stands: its row is held."""

    row: DocumentRow
    digest: bytes | None = None
    """Of its last version, when that is searchable or on its way."""
    size_bytes: int = 0
    """What is counted of it."""


class Taken(NamedTuple):
    """A document that gets a next version; `row` is how it was before."""

    asked: Asked
    row: DocumentRow

    @property
    def version(self) -> int:
        """The next version."""
        return self.row.latest_version + 1

    @property
    def revision(self) -> int:
        """The revision that it makes."""
        return self.row.revision + 1


class Decisions(msgspec.Struct):
    """What becomes of documents, by their places."""

    taken: list[Taken] = []
    unchanged: dict[int, DocumentRow] = {}
    refused: dict[int, QuarryError] = {}
    missing: list[UUID] = []
    """Of those refused the documents that are not there."""
    growth: Usage = Usage()
    """By how much the tenant's use changes."""
    gain: Usage = Usage()
    """By how much it grows at worst: nothing is taken off for documents that shrink."""
    added: Usage = Usage()
    """Versions taken in, and their bytes."""

    @property
    def lacking(self) -> set[Quota]:
        """Quotas for which something was refused."""
        return {error.quota for error in self.refused.values() if isinstance(error, NoRoomError)}


def decide(
    asked: Iterable[Asked], standings: Mapping[UUID, Standing], terms: Terms, used: Usage
) -> Decisions:
    """Decide upon documents of a tenant that has `used` so much; one that stands there twice is replaced.

    Raises `PreconditionFailedError`.
    """
    found = Decisions()
    now = dict(standings)
    for each in asked:
        standing = now[each.id]
        row = standing.row
        require(terms.condition, row.revision if row.alive else None)
        if row.alive and not terms.upsert:
            found.refused[each.place] = ExternalIdTakenError(
                f"{row.external_id!r} in collection {row.collection!r} is document {each.id}."
            )
            continue
        if row.alive and standing.digest == each.digest:
            found.unchanged[each.place] = row
            continue
        growth = Usage(int(not row.alive), each.size_bytes - standing.size_bytes)
        lacking = quotas.exceeded(used + found.growth, growth, terms.room)
        if lacking is not None:
            found.refused[each.place] = quotas.refusal(lacking, used + found.growth, growth, terms.room)
            continue
        taken = Taken(each, row)
        now[each.id] = _standing(taken)
        found.taken.append(taken)
        found.growth += growth
        found.gain += Usage(growth.documents, max(growth.storage_bytes, 0))
        found.added += Usage(1, each.size_bytes)
    found.missing = [document_id for document_id, standing in now.items() if not standing.row.alive]
    return found


def _standing(taken: Taken) -> Standing:
    row = msgspec.structs.replace(
        taken.row, latest_version=taken.version, revision=taken.revision, deleted_at=None
    )
    return Standing(row, taken.asked.digest, taken.asked.size_bytes)
