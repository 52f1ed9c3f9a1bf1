"""The process of one shard: `python -m quarry_local.vector_engine.shards SOCKET PARENT LEVEL`.

SOCKET is the number of an open socket on which the parent asks, LEVEL what is logged. It ends with its parent
or with the connection, whatever it does then: what it has answered is in the library's log.
"""

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

import msgspec
import uvloop

from quarry_common import garbage
from quarry_common.errors import QuarryError
from quarry_local.vector_engine.children import end_with
from quarry_local.vector_engine.errors import VectorEngineError
from quarry_local.vector_engine.shards.frames import Answer, Changes, Frames, Question
from quarry_local.vector_engine.shards.operations import OPERATIONS, Target
from quarry_local.vector_engine.shards.shard import Shard, create
from quarry_local.vector_engine.wire.base import decoded
from quarry_local.vector_engine.wire.shards import CREATE, OPEN, Create, Open, Opened

log = logging.getLogger(__name__)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()
_questions = msgspec.msgpack.Decoder(Question)


class Answering(Frames):
    """The end of the connection that answers, from one shard; `ended` is set when the connection is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()
        self._shard: Shard | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def received(self, number: int, payload: bytes) -> None:
        """Begin to answer a question."""
        task = asyncio.create_task(self._answer(number, _questions.decode(payload)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the process end."""
        super().connection_lost(exc)
        self.ended.set()

    async def _answer(self, number: int, question: Question) -> None:
        changes = Changes()
        body, error = b"", None
        try:
            body = _json.encode(await self._result(question, changes))
        except QuarryError as refusal:
            error = refusal.data
        except Exception:
            log.exception("%s failed", question.operation)
            error = VectorEngineError("Service internal error: see the vector engine's log").data
        self.send(number, _msgpack.encode(Answer(body, error, changes)))

    async def _result(self, question: Question, changes: Changes) -> object:
        if question.operation == CREATE:
            told = decoded(_CREATE, question.body)
            create(Path(told.folder), told.settings)
            return True
        if question.operation == OPEN:
            return self._open(decoded(_OPEN, question.body))
        if self._shard is None:
            raise VectorEngineError("no shard is open in this process")
        operation = OPERATIONS[question.operation]
        target = Target(self._shard, question, changes)
        if operation.body is None:
            return await operation.answer(target)
        return await operation.answer(target, decoded(operation.body, question.body))

    def _open(self, told: Open) -> Opened:
        self._shard = Shard(Path(told.folder), told.settings, told.operations)
        garbage.look_seldom()
        return Opened(self._shard.unindexed())


_CREATE = msgspec.json.Decoder(Create)
_OPEN = msgspec.json.Decoder(Open)


async def answer(connection: socket.socket) -> None:
    """Answer what is asked on `connection` until it is lost."""
    _, answering = await asyncio.get_running_loop().create_unix_connection(Answering, sock=connection)
    await answering.ended.wait()


def main() -> None:
    """Answer the parent."""
    number, parent, level = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    end_with(parent)
    # The parent stops in order, and tells this process when; a signal to both is the parent's.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvloop.run(answer(socket.socket(fileno=number)))


if __name__ == "__main__":
    main()
