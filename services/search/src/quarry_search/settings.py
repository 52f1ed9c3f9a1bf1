"""Settings of the search service."""

from typing import Annotated

from pydantic import Field

from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import NatsSettings, ProcessSettings, QdrantSettings


class SearchSettings(ProcessSettings, NatsSettings, QdrantSettings, EmbedderSettings):
    """What the search service reads from its environment."""

    search_concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="Searches that one process answers at a time; sixteen times as many may wait."
    )
