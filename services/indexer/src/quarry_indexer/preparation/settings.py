"""Settings of the parser processes."""

from typing import Annotated

from pydantic import Field

from quarry_common.settings import Settings


class ParserSettings(Settings):
    """How many processes read documents, and what one document may take."""

    parser_processes: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Processes that read documents, each one document at a time."
    )
    parser_memory_mb: Annotated[int, Field(ge=128, le=65_536)] = Field(
        1024, description="Memory that reading one document may take, in MB."
    )
    parser_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        120.0, description="Time that reading one document may take."
    )
    parser_max_text_mb: Annotated[int, Field(ge=1, le=1024)] = Field(
        64, description="Largest extracted text of one document, in MB of UTF-8."
    )
    parser_recycle_documents: Annotated[int, Field(ge=1, le=100_000)] = Field(
        200, description="Documents after which a parser process is replaced by a new one."
    )
