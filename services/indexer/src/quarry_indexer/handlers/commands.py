"""Commands: a wake-up for the workers of this process; the rows say what there is to do."""

import msgspec

from quarry_common.contracts.commands import IndexDocument, PurgeDocuments
from quarry_common.messaging.consumer import Delivery, PermanentError
from quarry_indexer.indexing.purge import Purge
from quarry_indexer.indexing.worker import Worker


class Commands:
    """Answers the commands for the indexer."""

    def __init__(self, worker: Worker, purge: Purge) -> None:
        self._worker = worker
        self._purge = purge

    async def receive(self, delivery: Delivery) -> None:
        """Wake what the command is for. Raises `PermanentError` for an unknown one."""
        verb = delivery.subject.rpartition(".")[2]
        match verb:
            case IndexDocument.verb:
                msgspec.json.decode(delivery.body, type=IndexDocument)
                self._worker.wake()
            case PurgeDocuments.verb:
                msgspec.json.decode(delivery.body, type=PurgeDocuments)
                self._purge.wake()
            case _:
                raise PermanentError(f"the indexer knows no command {verb!r}")
