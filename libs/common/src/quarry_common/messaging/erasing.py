"""Removes what a stream holds on some subjects, and counts it."""

import json

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from quarry_common.errors import UnavailableError

ANSWER_SECONDS = 5.0
_API = "$JS.API"
_NO_SUCH_STREAM = 404


class Erased(msgspec.Struct, frozen=True):
    """Messages that were removed, and those on the same subjects that were found afterwards."""

    removed: int
    left: int


class _Fault(msgspec.Struct, frozen=True):
    code: int
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """JetStream's to `STREAM.PURGE`; nats-py tells only whether it succeeded."""

    purged: int = 0
    error: _Fault | None = None


async def erase(connection: Client, stream: str, subject: str) -> Erased:
    """Remove the messages of `stream` that `subject`, which may hold wildcards, matches.

    A stream that is not there holds none. Raises `UnavailableError` when JetStream does not answer.
    """
    if not connection.is_connected:
        # It would be kept and sent after reconnecting, when nobody counts any more.
        raise UnavailableError("The message bus cannot be reached.", retry_after_seconds=2)
    try:
        removed = await _purge(connection, stream, subject)
        return Erased(removed, await _count(connection, stream, subject))
    except (NatsError, TimeoutError, OSError) as error:
        raise UnavailableError(
            f"JetStream does not answer for the stream {stream}.", retry_after_seconds=2
        ) from error


async def _purge(connection: Client, stream: str, subject: str) -> int:
    asked = json.dumps({"filter": subject}).encode()
    reply = await connection.request(f"{_API}.STREAM.PURGE.{stream}", asked, timeout=ANSWER_SECONDS)
    answer = msgspec.json.decode(reply.data, type=_Answer)
    if answer.error is not None and answer.error.code != _NO_SUCH_STREAM:
        raise UnavailableError(f"The stream {stream} could not be purged: {answer.error.description}.")
    return answer.purged


async def _count(connection: Client, stream: str, subject: str) -> int:
    jetstream = connection.jetstream(timeout=ANSWER_SECONDS)
    try:
        info = await jetstream.stream_info(stream, subjects_filter=subject)
    except NotFoundError:
        return 0
    return sum((info.state.subjects or {}).values())
