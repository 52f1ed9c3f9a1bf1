import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from quarry_common.settings import RedisSettings


def _default_cache_dir() -> Path:
    """Return the folder of the XDG base directory specification for what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "quarry"


class EmbedderSettings(RedisSettings):
    """Which embedder turns texts into vectors, and what it may use.

    Redis carries the budget that the processes of an installation share for a remote endpoint.
    """

    embedder: Literal["local", "openai"] = Field(
        "local",
        description="`local` is all-MiniLM-L6-v2 on this machine's processor; `openai` is any endpoint that "
        "speaks OpenAI's embeddings API. Documents are cut into chunks by the local tokenizer with either.",
    )
    embedder_threads: Annotated[int, Field(ge=0, le=256)] = Field(
        0, description="Threads of one embedding run; 0 takes one per core that the process may use. Local."
    )
    embedder_batch_size: Annotated[int, Field(ge=1, le=256)] = Field(
        8,
        description="Texts in one run of the model. Larger batches cost memory and gain nothing on a CPU. "
        "Local.",
    )
    embedder_max_waiting: Annotated[int, Field(ge=1, le=100_000)] = Field(
        2048, description="Texts that may wait for the embedder before callers are told to come back."
    )
    model_cache_dir: Path = Field(
        default_factory=_default_cache_dir, description="Folder in which prepared models are kept."
    )
    embedder_url: str = Field(
        "",
        validate_default=True,
        description="Address of the endpoint up to its version, such as `https://api.openai.com/v1`; "
        "`/embeddings` is added to it. Remote.",
    )
    embedder_api_key: SecretStr = Field(
        SecretStr(""), description="Key of the endpoint, sent as `Authorization: Bearer`. Remote."
    )
    embedder_model: str = Field(
        "", validate_default=True, description="Name of the model, as the endpoint knows it. Remote."
    )
    embedder_dimensions: Annotated[int, Field(ge=0, le=65_536)] = Field(
        0,
        description="Length of a vector; 0 asks the endpoint at each start, which then needs it. Remote.",
    )
    embedder_send_dimensions: bool = Field(
        True,
        description="Whether requests ask for vectors of EMBEDDER_DIMENSIONS; false for models that cannot "
        "shorten theirs. Remote.",
    )
    embedder_max_tokens: Annotated[int, Field(ge=16, le=100_000)] = Field(
        512, description="Tokens of a text that the model reads; longer texts are cut. Remote."
    )
    embedder_multilingual: bool = Field(
        True,
        description="Whether the model learnt more than English; if not, it counts less in searches in other "
        "languages. Remote.",
    )
    embedder_batch_texts: Annotated[int, Field(ge=1, le=2048)] = Field(
        32, description="Texts of one request at most. Remote."
    )
    embedder_batch_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = Field(
        8192, description="Estimated tokens of one request at most, unless a single text has more. Remote."
    )
    embedder_concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="Requests that one process has under way at a time. Remote."
    )
    embedder_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        30.0, description="Time that one request may take. Remote."
    )
    embedder_requests_per_minute: Annotated[int, Field(ge=0)] = Field(
        0, description="Requests that all processes together send in any minute; 0 is unlimited. Remote."
    )
    embedder_tokens_per_minute: Annotated[int, Field(ge=0)] = Field(
        0,
        validate_default=True,
        description="Estimated tokens that all processes together send in any minute, at least twice "
        "EMBEDDER_MAX_TOKENS; 0 is unlimited. Remote.",
    )

    @field_validator("embedder_url")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return _needed(value, info)
        try:
            address = urlsplit(value)
            usable = address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
        except ValueError:
            usable = False
        if not usable or address.query or address.fragment or "@" in address.netloc:
            # What follows may hold a key, which the message for a wrong value would show.
            raise PydanticCustomError(
                "missing", "must be `http://HOST/PATH` or `https://HOST/PATH`, without key, query or fragment"
            )
        return value.rstrip("/")

    @field_validator("embedder_api_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise PydanticCustomError("malformed", "must be printable ASCII without blanks")
        return SecretStr(key)

    @field_validator("embedder_model")
    @classmethod
    def _model(cls, value: str, info: ValidationInfo) -> str:
        return value or _needed(value, info)

    @field_validator("embedder_tokens_per_minute")
    @classmethod
    def _room_for_a_text(cls, value: int, info: ValidationInfo) -> int:
        longest = info.data.get("embedder_max_tokens", 0)
        if value and value < 2 * longest:
            raise PydanticCustomError(
                "too_small",
                "must be 0 or at least {least}, twice EMBEDDER_MAX_TOKENS",
                {"least": 2 * longest},
            )
        return value


def _needed(value: str, info: ValidationInfo) -> str:
    if info.data.get("embedder") == "openai":
        raise PydanticCustomError("missing", "must be given when EMBEDDER is `openai`")
    return value
