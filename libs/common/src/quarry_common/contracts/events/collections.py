"""What becomes of collections."""

from typing import ClassVar, Final

from quarry_common.contracts.events.base import EventData


class CollectionDeleted(EventData, frozen=True):
    """A collection and everything in it cannot be found any more."""

    type: ClassVar[str] = "collection.deleted"
    collection: str
    documents: int

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.collection


class CollectionRefreshed(EventData, frozen=True):
    """What searches find follows the documents again: what was deleted has left the index, or the index was
    mended. `collection` is None when it may be any."""

    type: ClassVar[str] = "collection.refreshed"
    collection: str | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.collection or "*"


class CollectionUpdated(EventData, frozen=True):
    """A collection's settings were changed; searches follow the new ones. `settings` names those changed."""

    type: ClassVar[str] = "collection.updated"
    collection: str
    settings: list[str]

    @property
    def subject_id(self) -> str:  # noqa: D102
        return self.collection


EXAMPLES: Final = (
    CollectionDeleted("handbook", 214),
    CollectionRefreshed("handbook"),
    CollectionUpdated("handbook", ["title_boost"]),
)
"""One of each type."""
