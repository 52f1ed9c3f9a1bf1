"""Settings of the search service."""

from typing import Annotated

from pydantic import Field, SecretStr

from quarry_common.cache.settings import CacheSettings
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.fields import HttpAddress
from quarry_common.settings import NatsSettings, ProcessSettings, QdrantSettings


class SearchSettings(ProcessSettings, NatsSettings, QdrantSettings, EmbedderSettings, CacheSettings):
    """What the search service reads from its environment."""

    analytics_enabled: bool = Field(True, description="Whether searches are recorded for analytics.")
    search_concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="Searches that one process answers at a time; sixteen times as many may wait."
    )
    batch_concurrency: Annotated[int, Field(ge=1, le=50)] = Field(
        8, description="Searches of one batch that are answered at a time."
    )
    reranker_url: HttpAddress = Field(
        "",
        description="Address of a reranker as Cohere, Jina and vLLM serve it, such as https://host/rerank.",
    )
    reranker_api_key: SecretStr = Field(
        SecretStr(""), description="Key for the reranker, if it asks for one."
    )
    reranker_model: str = Field("", description="Model that the reranker is asked for.")
    reranker_default: bool = Field(
        False, description="Whether searches are reranked that do not say; needs RERANKER_URL."
    )
    reranker_candidates: Annotated[int, Field(ge=1, le=200)] = Field(
        50, description="Best results that the reranker orders; what follows stays behind them."
    )
    reranker_timeout_seconds: Annotated[float, Field(gt=0, le=30)] = Field(
        2.0, description="Longest wait for the reranker; then the order stays as it was."
    )
