import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from quarry_common.settings import Settings


def _default_cache_dir() -> Path:
    """Return the folder of the XDG base directory specification for what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "quarry"


class EmbedderSettings(Settings):
    """Which embedder turns texts into vectors, and what it may use."""

    embedder: Literal["local", "openai"] = Field(
        "local", description="`local` is all-MiniLM-L6-v2 on this machine's processor."
    )
    embedder_threads: Annotated[int, Field(ge=0, le=256)] = Field(
        0, description="Threads of one embedding run; 0 takes one per core that the process may use."
    )
    embedder_batch_size: Annotated[int, Field(ge=1, le=256)] = Field(
        8, description="Texts in one run of the model. Larger batches cost memory and gain nothing on a CPU."
    )
    embedder_max_waiting: Annotated[int, Field(ge=1, le=100_000)] = Field(
        2048, description="Texts that may wait for the embedder before callers are told to come back."
    )
    model_cache_dir: Path = Field(
        default_factory=_default_cache_dir, description="Folder in which prepared models are kept."
    )
