"""What the gateway can be told."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from quarry_common.cache.settings import SharedKeysSettings
from quarry_common.settings import (
    BlobSettings,
    NatsSettings,
    ProcessSettings,
    QdrantSettings,
)
from quarry_gateway.access.addresses import Network, parse_networks

MIN_EVENT_KEY = 32


class GatewaySettings(NatsSettings, BlobSettings, QdrantSettings, SharedKeysSettings, ProcessSettings):
    """Settings of the gateway."""

    http_host: str = Field("127.0.0.1", description="Address of the public HTTP API.")
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="Port of the public HTTP API; 0 takes a free one."
    )
    hsts_seconds: Annotated[int, Field(ge=0, le=63_072_000)] = Field(
        0,
        description="Time for which a browser that was here keeps to HTTPS (`Strict-Transport-Security`), "
        "once no client needs plain HTTP any more; 0 does not say so.",
    )
    max_upload_mb: Annotated[int, Field(ge=1, le=10_240)] = Field(
        512, description="Largest file that may be uploaded, in MiB."
    )
    max_json_mb: Annotated[int, Field(ge=1, le=64)] = Field(
        16, description="Largest JSON body, with a document's inline content, in MiB."
    )
    max_concurrent_requests: Annotated[int, Field(ge=1, le=100_000)] = Field(
        512, description="Requests answered at a time; beyond, callers are told to come back."
    )
    max_event_streams: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200,
        description="Event streams that may be open at a time; beyond, callers are told to come back.",
    )
    max_event_streams_of_tenant: Annotated[int, Field(ge=1, le=10_000)] = Field(
        50, description="Event streams that one tenant may have open at a time, of each gateway."
    )
    event_stream_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        3600.0, description="Longest life of a stream of events; its reader then opens the next one."
    )
    body_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30.0, description="Longest pause between two pieces of a request's body."
    )
    key_cache_seconds: Annotated[float, Field(ge=0, le=5)] = Field(
        4.0,
        description="How long a resolved key is believed when it is not certain that its revocation would be "
        "heard of; a revoked one is refused after that at latest.",
    )
    rpc_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = Field(
        10.0, description="Longest wait for the answer of another service."
    )
    health_check_seconds: Annotated[float, Field(gt=0, le=3_600)] = Field(
        15.0,
        description="Time between two checks of the platform's dependencies; two that fail in a row are told "
        "as `health.check_failed`.",
    )
    rate_limits_enabled: bool = Field(
        True, description="Whether requests per second are limited, as the quotas of tenants and keys say."
    )
    trusted_proxies: str = Field(
        "",
        description="Proxies whose `X-Forwarded-For` (or else `Forwarded`) is believed: addresses and CIDR "
        "blocks, separated by commas.",
    )

    event_token_keys: SecretStr = Field(
        SecretStr(""),
        description="Secrets of 32 characters or more, separated by commas, with which answers get tokens "
        "that "
        "let browsers tell of clicks without a key. The first makes tokens, all verify; none: there are "
        "none.",
    )
    public_hosts: str = Field(
        "",
        description="Names of the installation itself, which are no tenant's domain, separated by commas.",
    )

    @property
    def event_keys(self) -> list[bytes]:
        """`event_token_keys`, read."""
        return [key.encode() for key in _listed(self.event_token_keys)]

    @field_validator("event_token_keys")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if any(len(key) < MIN_EVENT_KEY for key in _listed(value)):
            raise PydanticCustomError("short", f"each must have at least {MIN_EVENT_KEY} characters")
        return value

    @property
    def proxies(self) -> tuple[Network, ...]:
        """`trusted_proxies`, read."""
        return parse_networks(self.trusted_proxies)

    @property
    def own_hosts(self) -> list[str]:
        """`public_hosts`, read."""
        return [name.strip().lower() for name in self.public_hosts.split(",") if name.strip()]

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            parse_networks(value)
        except ValueError as error:
            raise PydanticCustomError("malformed", str(error)) from None
        return value


def _listed(secrets: SecretStr) -> list[str]:
    return [key.strip() for key in secrets.get_secret_value().split(",") if key.strip()]
