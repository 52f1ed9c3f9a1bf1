"""Commands: there is work. A command is a wake-up, not the truth: the row in Postgres is."""

from typing import ClassVar
from uuid import UUID

import msgspec


class Command(msgspec.Struct, frozen=True):
    """Base of commands: which service they are for and what it shall do."""

    service: ClassVar[str]
    verb: ClassVar[str]


class IndexDocument(Command, frozen=True):
    """A job waits to be taken."""

    service: ClassVar[str] = "indexer"
    verb: ClassVar[str] = "index"
    job_id: UUID


class PurgeDocuments(Command, frozen=True):
    """The remains of deleted documents wait to be removed from every store."""

    service: ClassVar[str] = "indexer"
    verb: ClassVar[str] = "purge"
