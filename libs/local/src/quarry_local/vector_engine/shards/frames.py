"""What the listening process and a shard's process say to each other: numbered questions and their answers.

A frame is the length of its payload and its number, four bytes each, then the payload as msgpack. Answers
come in any order.
"""

from __future__ import annotations

import asyncio
import struct
from abc import abstractmethod
from typing import cast

import msgspec

from quarry_common.errors import ErrorData, RemoteError

_HEAD = struct.Struct("<II")


class Changes(msgspec.Struct, array_like=True):
    """How many points have been changed (deleted ones among them) and deleted."""

    points: int = 0
    deleted: int = 0

    def add(self, other: Changes) -> None:
        """Add what something else has changed."""
        self.points += other.points
        self.deleted += other.deleted


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A request to a shard: `operation` is a key of `operations.OPERATIONS`."""

    operation: str
    body: bytes = b""
    """JSON, as the operation takes it."""
    item: str = ""
    """What follows the operation in the path of a request: a point's id, a payload key."""
    wait: bool = True
    fold: bool = True
    """Whether a write may fold the log into the segments when it has grown long."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What came of a question."""

    body: bytes
    """The result as JSON; empty after an error."""
    error: ErrorData | None
    changes: Changes
    """What a write changed, one that was refused in its middle as well."""

    def result(self) -> msgspec.Raw:
        """Return the result as JSON; raises `RemoteError`."""
        if self.error is not None:
            raise RemoteError(self.error)
        return msgspec.Raw(self.body)


class Frames(asyncio.Protocol):
    """One end of the connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    @abstractmethod
    def received(self, number: int, payload: bytes) -> None:
        """Take a frame."""

    def send(self, number: int, payload: bytes) -> None:
        """Send a frame; one that nobody can receive any more is dropped."""
        if self._transport is not None:
            self._transport.writelines((_HEAD.pack(len(payload), number), payload))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to send."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Cut what has arrived into frames."""
        self._buffer += data
        start = 0
        while len(self._buffer) >= start + _HEAD.size:
            length, number = _HEAD.unpack_from(self._buffer, start)
            end = start + _HEAD.size + length
            if len(self._buffer) < end:
                break
            self.received(number, bytes(self._buffer[start + _HEAD.size : end]))
            start = end
        del self._buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio calls it so)
        """Send nothing any more."""
        self._transport = None
