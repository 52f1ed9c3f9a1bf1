"""What happens, as it happens: the events of a tenant, or of all with those of the installation."""

from collections.abc import Collection
from contextlib import aclosing
from datetime import datetime
from typing import Final

import msgspec
from nats.aio.client import Client

from quarry_common.contracts import subjects
from quarry_common.contracts.events import Way
from quarry_common.contracts.events.filters import matches
from quarry_common.contracts.streams import EVENTS
from quarry_common.messaging.following import Bounds, Follower, Stored, bounds_of
from quarry_gateway.event_streams.places import PATTERN, Places
from quarry_gateway.event_streams.serving import Write, event, identified, last_event_id

LAST_PLACE: Final = last_event_id(
    "The id of the last event that came: the stream goes on after it.",
    {"type": "string", "pattern": PATTERN, "examples": ["mJ2cXq7Zr0mWv5k1u3n9dA"]},
)
_NOT_KEPT: Final = "Events after the last one that came are not kept any more."
_ANOTHER: Final = "The id of the last event is not of this stream: the events were set up anew since."


class Missed(msgspec.Struct, frozen=True):
    """There may be events that do not come: what a reader keeps up to date by events, it should read anew."""

    detail: str


class LiveEvents:
    """Events that `filters` want, told to one reader. `subject` narrows them to a tenant, or is for all."""

    def __init__(
        self,
        bus: Client,
        subject: str,
        filters: Collection[str],
        *,
        last_event_id: str | None,
        since: datetime | None,
    ) -> None:
        """It begins after the last event that came, else at `since`, else with what comes."""
        self._bus = bus
        self._subject = subject
        self._filters = filters
        self._last_event_id = last_event_id
        self._since = since
        self._places = Places("")
        self._told_up_to: int | None = None
        self._missed = ""

    async def open(self) -> None:
        """Find the place to begin at. Raises `UnavailableError` when the bus does not answer."""
        bounds = await bounds_of(self._bus, EVENTS.name)
        self._places = Places(bounds.identity)
        if self._last_event_id is not None:
            self._told_up_to, self._missed = self._resumed(self._last_event_id, bounds)
        elif self._since is None:
            self._told_up_to = bounds.last

    def _resumed(self, last_event_id: str, bounds: Bounds) -> tuple[int, str]:
        last = self._places.sequence_of(last_event_id)
        if last is None or last > bounds.last:
            return bounds.first - 1, _ANOTHER
        return last, (_NOT_KEPT if last + 1 < bounds.first else "")

    async def follow(self, write: Write) -> None:
        """Tell each event, without end. Raises `UnavailableError` when the bus stays away."""
        if self._missed:
            await write(event("missed", Missed(self._missed)))
        await write(f"{self.place()}\n")
        follower = Follower(self._bus, EVENTS.name, self._subject, after=self._told_up_to, since=self._since)
        async with aclosing(follower.messages()) as messages:
            async for message in messages:
                if matches(subjects.event_type_of(message.subject), self._filters, Way.SSE):
                    await write(self._told(message))
                self._told_up_to = message.sequence

    def place(self) -> str:
        """Return the line that names the place up to which everything was told."""
        return identified(None if self._told_up_to is None else self._places.id_of(self._told_up_to))

    def _told(self, message: Stored) -> str:
        # JSON, which needs no line ends; one that had them would be several lines of data.
        text = message.data.decode().replace("\n", " ")
        return f"{identified(self._places.id_of(message.sequence))}data: {text}\n\n"
