"""Follows jobs and events over server-sent events (WHATWG HTML, section 9.2). No I/O happens here."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeVar

import httpx
import msgspec

from quarry_client.answers import WRONG_SERVER_ADVICE, api_error, read_answer
from quarry_client.attempts import Attempts
from quarry_client.calls import Call
from quarry_client.errors import ApiError, MissedEventsError, UnreadableAnswerError
from quarry_client.retry import TRANSIENT_STATUSES, RetryPolicy
from quarry_client.types import EventsMissed, Job, PlatformEvent, Problem

T = TypeVar("T")

EVENT_STREAM: Final = "text/event-stream"
TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0, read=60.0)
"""An open stream is never silent for longer than a quarter of this."""
SETTLED_SECONDS: Final = 30.0
"""A stream that lived so long was a good one, even when nothing happened."""


class Event(msgspec.Struct, frozen=True):
    """One event of a stream."""

    name: str
    data: str


class EventReader:
    """Cuts a stream of bytes into events.

    Lines end only as the standard says: other line ends of Unicode may stand in the data.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.retry_seconds = 1.0
        self._rest = b""
        self._name = ""
        self._id: str | None = None
        self._data: list[str] = []

    def begin(self) -> None:
        """Forget what was left of a stream that broke off."""
        self._rest, self._name, self._id, self._data = b"", "", self.last_id, []

    def read(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that are complete with `piece`."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode("utf-8", "replace")
            if text:
                self._field(text)
                continue
            self.last_id = self._id
            if self._data:
                yield Event(self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
            case "retry" if value.isascii() and value.isdecimal() and len(value) < 7:
                self.retry_seconds = int(value) / 1000


class Watch(ABC, Generic[T]):
    """What is known of a stream that is followed, over as many connections as it takes."""

    def __init__(
        self,
        call: Call[T],
        policy: RetryPolicy,
        base_url: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        after: str | None = None,
    ) -> None:
        self._over = False
        self._call = call
        self._policy = policy
        self._base_url = base_url
        self._clock = clock
        self._events = EventReader(after)
        self._attempts = self._new_attempts()
        self._opened_at = math.inf
        self._problem: ApiError | None = None

    def is_over(self) -> bool:
        """Whether everything was told: then there is nothing more to open."""
        return self._over

    @property
    def path(self) -> str:
        """Where the stream is."""
        return self._call.path

    @property
    def params(self) -> Mapping[str, str]:
        """What the path is asked with."""
        return self._call.params

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers to open the stream with: it goes on after the last event that came."""
        last = {} if self._events.last_id is None else {"Last-Event-ID": self._events.last_id}
        return {"Accept": EVENT_STREAM} | last

    def opened(self, response: httpx.Response) -> float | None:
        """Return None when the stream is open, or how long to wait before it is asked for again.

        A response without success has been read. Raises ApiError and UnreadableAnswerError.
        """
        self._events.begin()
        if not response.is_success:
            delay = self._attempts.after_response(response)
            if delay is None:
                read_answer(self._call, response)
            return delay
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind != EVENT_STREAM:
            raise UnreadableAnswerError(
                f"The answer to GET {response.url} is {kind or 'untyped'} and no stream of events.",
                WRONG_SERVER_ADVICE,
            )
        self._opened_at = self._clock()
        return None

    def read(self, piece: bytes) -> Iterator[T]:
        """Yield what is told and complete with `piece`. Raises ApiError for what is final."""
        for event in self._events.read(piece):
            if event.name == "error":
                self._problem = api_error(_decode(event, Problem))
                if self._problem.status not in TRANSIENT_STATUSES:
                    raise self._problem
            else:
                self._attempts, self._problem = self._new_attempts(), None
                yield from self._told(event)

    @abstractmethod
    def _told(self, event: Event) -> Iterator[T]:
        """Yield what one event tells."""

    def ended(self) -> float:
        """Return how long to wait before the next connection; raises when that leads nowhere."""
        if self._over:
            return 0.0
        self._settle()
        delay = self._attempts.after_end()
        if delay is None:
            raise self._problem or self._attempts.unfinished()
        return max(delay, self._events.retry_seconds)

    def broke(self, error: httpx.RequestError) -> float:
        """Return how long to wait after a connection that broke or was not made; raises UnreachableError."""
        self._settle()
        return self._attempts.after_failure(error)

    def _settle(self) -> None:
        if self._clock() - self._opened_at >= SETTLED_SECONDS:
            self._attempts = self._new_attempts()
        self._opened_at = math.inf

    def _new_attempts(self) -> Attempts:
        return Attempts(self._policy, self._call, self._base_url)


class JobWatch(Watch[Job]):
    """A job that is followed until its end."""

    def _told(self, event: Event) -> Iterator[Job]:
        if event.name == "end":
            self._over = True
        elif event.name == "job":
            yield _decode(event, Job)


class EventWatch(Watch[PlatformEvent]):
    """Events that are followed. What may be missing is told to `on_missed`, or raised."""

    def __init__(
        self,
        call: Call[PlatformEvent],
        policy: RetryPolicy,
        base_url: str,
        *,
        after: str | None,
        on_missed: Callable[[str], None] | None,
    ) -> None:
        super().__init__(call, policy, base_url, after=after)
        self._on_missed = on_missed or _refuse_missed

    def _told(self, event: Event) -> Iterator[PlatformEvent]:
        if event.name == "missed":
            self._on_missed(_decode(event, EventsMissed).detail)
        elif event.name == "message":
            yield msgspec.structs.replace(_decode(event, PlatformEvent), place=self._events.last_id)


def _refuse_missed(detail: str) -> None:
    raise MissedEventsError(detail, "Read anew what you keep up to date by events, then follow them again.")


def _decode(event: Event, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(event.data, type=kind)
    except msgspec.DecodeError as error:
        raise UnreadableAnswerError(
            f"An event {event.name!r} is not readable: {error}.", WRONG_SERVER_ADVICE
        ) from error
