from typing import Annotated

from pydantic import Field

from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import (
    BlobSettings,
    NatsSettings,
    PostgresSettings,
    ProcessSettings,
    QdrantSettings,
)
from quarry_indexer.preparation.settings import ParserSettings


class IndexerSettings(
    ProcessSettings,
    PostgresSettings,
    NatsSettings,
    QdrantSettings,
    BlobSettings,
    EmbedderSettings,
    ParserSettings,
):
    """Settings of the indexer."""

    indexer_concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        8,
        description="Documents, or bundles of small ones, that one process indexes at a time; a tenant has "
        "at most half of the places.",
    )
    indexer_fairness: bool = Field(
        True, description="Whether tenants take turns; without it documents are indexed in their order."
    )
    indexer_rpc_concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="Requests of other services that one process answers at a time."
    )
    job_lease_seconds: Annotated[float, Field(ge=1, le=600)] = Field(
        15.0, description="Time after which a job whose worker is silent is taken over by another."
    )
    index_check_seconds: Annotated[float, Field(ge=0, le=604_800)] = Field(
        3600.0,
        description="Time between two looks through index and blob store for what does not belong there or "
        "is missing; 0 never looks.",
    )
    quota_recount_seconds: Annotated[float, Field(ge=0, le=2_592_000)] = Field(
        86_400.0,
        description="Time after which a tenant's documents and bytes are counted anew, and what is counted "
        "with each change is held against it; 0 never counts.",
    )
    embedding_cache_days: Annotated[int, Field(ge=0, le=3650)] = Field(
        30, description="Days for which the vector of a text is kept after it was used last."
    )
    chunk_tokens: Annotated[int, Field(ge=32, le=4096)] = Field(
        200, description="Tokens that a chunk has at most; with its title it must fit the embedder."
    )
    chunk_overlap_tokens: Annotated[int, Field(ge=0, le=1024)] = Field(
        30, description="Tokens that a chunk shares with the one before."
    )
