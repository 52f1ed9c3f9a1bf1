"""Settings of the analytics service."""

from typing import Annotated

from pydantic import Field

from quarry_common.settings import NatsSettings, PostgresSettings, ProcessSettings


class AnalyticsSettings(ProcessSettings, PostgresSettings, NatsSettings):
    """What the analytics service reads from its environment."""

    analytics_retention_days: Annotated[int, Field(ge=1, le=400)] = Field(
        90, description="Days for which searches and what is made of them are kept; a tenant may keep less."
    )
    analytics_aggregate_interval_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        300.0, description="Seconds between two looks for what has come, to bring the figures up to date."
    )
    analytics_low_confidence_similarity: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3,
        description="Cosine of query and nearest passage below which a search counts as one of low "
        "confidence; it "
        "depends on the embedder.",
    )
