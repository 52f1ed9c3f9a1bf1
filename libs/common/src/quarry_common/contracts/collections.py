"""Collections: `rpc.v1.indexer.*_collection*`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from quarry_common.contracts.rpc import RpcMethod

DEFAULT_COLLECTION = "default"
"""The collection that every tenant has."""

CollectionName = Annotated[
    str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$(?!\n)", examples=["default"])
]

MAX_SETTINGS_BYTES = 64 * 1024
"""Of a collection's settings as JSON: a page of collections is one message between services."""


class Language(StrEnum):
    """A language that the documents of a collection may be in, by its ISO 639-1 code."""

    ARABIC = "ar"
    BULGARIAN = "bg"
    CATALAN = "ca"
    CHINESE = "zh"
    CROATIAN = "hr"
    CZECH = "cs"
    DANISH = "da"
    DUTCH = "nl"
    ENGLISH = "en"
    ESTONIAN = "et"
    FINNISH = "fi"
    FRENCH = "fr"
    GERMAN = "de"
    GREEK = "el"
    HEBREW = "he"
    HINDI = "hi"
    HUNGARIAN = "hu"
    INDONESIAN = "id"
    ITALIAN = "it"
    JAPANESE = "ja"
    KOREAN = "ko"
    LATVIAN = "lv"
    LITHUANIAN = "lt"
    NORWEGIAN = "no"
    PERSIAN = "fa"
    POLISH = "pl"
    PORTUGUESE = "pt"
    ROMANIAN = "ro"
    RUSSIAN = "ru"
    SERBIAN = "sr"
    SLOVAK = "sk"
    SLOVENIAN = "sl"
    SPANISH = "es"
    SWEDISH = "sv"
    THAI = "th"
    TURKISH = "tr"
    UKRAINIAN = "uk"
    VIETNAMESE = "vi"


ChunkTokens = Annotated[
    int, Meta(ge=32, le=4096, description="Tokens that a chunk has at most; null takes the platform's.")
]
ChunkOverlap = Annotated[
    int,
    Meta(
        ge=0,
        le=2047,
        description="Tokens that a chunk shares with the one before, less than half of its size; null takes "
        "the platform's.",
    ),
]
TitleBoost = Annotated[
    float,
    Meta(ge=0, le=10, description="How often a word of the title counts in keyword search; in the text, 1."),
]
Word = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]
StopWords = Annotated[
    list[Word],
    Meta(max_length=1000, description="Words that queries leave out besides the platform's own."),
]
SynonymGroup = Annotated[list[Word], Meta(min_length=2, max_length=20)]
Synonyms = Annotated[
    list[SynonymGroup],
    Meta(max_length=1000, description="Groups of words or short phrases that mean the same."),
]
DenseWeight = Annotated[
    float,
    Meta(ge=0, le=1, description="Share of the semantic leg in hybrid ranking; null chooses it by query."),
]


class CollectionSettings(msgspec.Struct, frozen=True):
    """How the documents of a collection are indexed and searched; each default is the platform's own way."""

    language: Language | None = None
    """What its documents are in; None when it is guessed from each query."""
    chunk_tokens: ChunkTokens | None = None
    chunk_overlap: ChunkOverlap | None = None
    title_boost: TitleBoost = 1.0
    stop_words: StopWords = []
    synonyms: Synonyms = []
    dense_weight: DenseWeight | None = None


class SettingsPatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of settings (RFC 7396): what is left out stays, null goes back to the default.

    Lists take the place of those before.
    """

    language: Language | UnsetType | None = UNSET
    chunk_tokens: ChunkTokens | UnsetType | None = UNSET
    chunk_overlap: ChunkOverlap | UnsetType | None = UNSET
    title_boost: TitleBoost | UnsetType | None = UNSET
    stop_words: StopWords | UnsetType | None = UNSET
    synonyms: Synonyms | UnsetType | None = UNSET
    dense_weight: DenseWeight | UnsetType | None = UNSET


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents of one tenant, indexed by one embedder."""

    id: UUID
    name: str
    embedder_id: str
    document_count: int
    chunk_count: int
    created_at: datetime
    settings: CollectionSettings = CollectionSettings()
    outdated_documents: int = 0
    """Searchable documents that were indexed with other settings of chunks or titles than the present ones;
    indexing them again brings them up to date."""


class CollectionRef(msgspec.Struct, frozen=True):
    """Names a collection."""

    tenant_id: UUID
    name: CollectionName


class CreateCollection(msgspec.Struct, frozen=True):
    """Asks for a new collection. `idempotency_key` makes a repetition give the first answer."""

    tenant_id: UUID
    name: CollectionName
    idempotency_key: str | None = None
    settings: CollectionSettings = CollectionSettings()


class UpdateCollection(msgspec.Struct, frozen=True):
    """Asks for a change of a collection's settings."""

    tenant_id: UUID
    name: CollectionName
    settings: SettingsPatch


class ListSettings(msgspec.Struct, frozen=True):
    """Asks for the settings of a tenant's collections, of those after the name `after`."""

    tenant_id: UUID
    after: str = ""


class AllSettings(msgspec.Struct, frozen=True):
    """The settings of those collections whose settings are not the default ones, by name.

    `after` is where to go on when they are more than one message takes; None at the end.
    """

    settings: dict[str, CollectionSettings]
    after: str | None = None
    others: bool = False
    """Whether there are documents in collections with the default settings, too."""


class ListCollections(msgspec.Struct, frozen=True):
    """Asks for a tenant's collections by name."""

    tenant_id: UUID
    limit: int = 50
    cursor: str | None = None


class CollectionPage(msgspec.Struct, frozen=True):
    """Some collections and where to go on."""

    collections: list[Collection]
    next_cursor: str | None = None


class CollectionDeleted(msgspec.Struct, frozen=True):
    """A collection and all that was in it cannot be found any more."""

    name: str
    documents: int


CREATE_COLLECTION = RpcMethod("indexer", "create_collection", CreateCollection, Collection)
GET_COLLECTION = RpcMethod("indexer", "get_collection", CollectionRef, Collection)
LIST_COLLECTIONS = RpcMethod("indexer", "list_collections", ListCollections, CollectionPage)
UPDATE_COLLECTION = RpcMethod("indexer", "update_collection", UpdateCollection, Collection)
SETTINGS = RpcMethod("indexer", "collection_settings", ListSettings, AllSettings)
DELETE_COLLECTION = RpcMethod("indexer", "delete_collection", CollectionRef, CollectionDeleted)
