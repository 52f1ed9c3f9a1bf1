"""Settings of the optimiser, read from the environment."""

from typing import Annotated

from pydantic import Field

from quarry_common.settings import Settings


class OptimiserSettings(Settings):
    """When a collection is optimised, and what a run may take."""

    vector_optimise: bool = Field(True, description="Whether collections are optimised by themselves.")
    vector_optimise_check_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="How often it is looked whether a collection needs it."
    )
    vector_optimise_changed_points: Annotated[int, Field(ge=1)] = Field(
        5_000, description="Points changed since the last run that make the next one due."
    )
    vector_optimise_changed_share: Annotated[float, Field(ge=0)] = Field(
        0.1,
        description="Share of the points that must have changed too: runs grow rarer with the collection.",
    )
    vector_optimise_deleted_points: Annotated[int, Field(ge=1)] = Field(
        1_000, description="Points deleted since the last run that make the next one due."
    )
    vector_optimise_deleted_share: Annotated[float, Field(ge=0)] = Field(
        0.05, description="Share of the points that must have been deleted too."
    )
    vector_optimise_copy_seconds: Annotated[float, Field(gt=0)] = Field(
        5.0, description="How long the copy of the folder may hold up writes."
    )
    vector_optimise_deadline_seconds: Annotated[float, Field(gt=0)] = Field(
        3600.0, description="How long a run may take."
    )
    vector_optimise_retry_seconds: Annotated[float, Field(ge=0)] = Field(
        60.0, description="How long a collection is left alone at least after a run that was given up."
    )
    vector_optimise_journal_points: Annotated[int, Field(ge=1)] = Field(
        20_000, description="Points that may change during a run before it is given up."
    )
    vector_optimise_journal_mb: Annotated[int, Field(ge=1)] = Field(
        256, description="Bodies of updates, in MB, that may arrive during a run before it is given up."
    )
