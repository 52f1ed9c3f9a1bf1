"""Settings of the webhooks service."""

from datetime import timedelta
from math import isfinite
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from quarry_common.settings import NatsSettings, PostgresSettings, ProcessSettings
from quarry_webhooks.delivering.ports import Rules
from quarry_webhooks.egress.faults import Limits
from quarry_webhooks.egress.networks import parse_networks
from quarry_webhooks.egress.urls import Policy
from quarry_webhooks.sealing import parse_keys

MOST_ATTEMPTS = 50
LONGEST_DELAY_SECONDS = 604_800.0


class WebhooksSettings(ProcessSettings, PostgresSettings, NatsSettings):
    """What the webhooks service reads from its environment."""

    webhook_encryption_keys: SecretStr = Field(
        description="Keys that secrets and headers of endpoints are encrypted with, each 32 bytes in base64, "
        "separated by commas: the first encrypts, all decrypt. Put a new one before the old ones; what was "
        "encrypted with a key cannot be read without it."
    )
    webhook_allowed_networks: str = Field(
        "",
        description="Networks that deliveries may reach though they are private or special, separated by "
        "commas, such as `127.0.0.0/8` in development. Whoever may create endpoints reaches them.",
    )
    webhook_allow_http: bool = Field(
        False, description="Whether endpoints may have `http://` URLs: what is sent can be read on the way."
    )
    webhook_connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        5.0, description="Time to connect to an endpoint, TLS included."
    )
    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = Field(
        15.0, description="Time that an attempt may take in all; beyond, it has failed."
    )
    webhook_concurrency: Annotated[int, Field(ge=1, le=5_000)] = Field(
        200, description="Attempts that one process makes at a time."
    )
    webhook_endpoint_concurrency: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Attempts that one endpoint gets at a time; one that keeps the order gets one."
    )
    webhook_schedule_seconds: str = Field(
        "0,5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Pauses before each attempt of a delivery, in seconds, separated by commas: as many "
        "attempts as there are pauses.",
    )
    webhook_disable_after_hours: Annotated[float, Field(gt=0, le=8_760)] = Field(
        120.0,
        description="Hours of failures, with no success among them, after which an endpoint is disabled.",
    )
    webhook_retention_days: Annotated[int, Field(ge=1, le=365)] = Field(
        30, description="Days for which deliveries that are over are kept, with their attempts."
    )

    @property
    def encryption_keys(self) -> tuple[bytes, ...]:
        """The keys, the one that encrypts first."""
        return parse_keys(self.webhook_encryption_keys.get_secret_value())

    @property
    def policy(self) -> Policy:
        """What deliveries may reach."""
        return Policy(parse_networks(self.webhook_allowed_networks), self.webhook_allow_http)

    @property
    def limits(self) -> Limits:
        """For how long an attempt may take."""
        return Limits(
            connect_seconds=min(self.webhook_connect_timeout_seconds, self.webhook_timeout_seconds),
            total_seconds=self.webhook_timeout_seconds,
            body_seconds=min(Limits().body_seconds, self.webhook_timeout_seconds),
        )

    @property
    def rules(self) -> Rules:
        """How much at once, how often and for how long."""
        return Rules(
            concurrency=self.webhook_concurrency,
            per_endpoint=self.webhook_endpoint_concurrency,
            delays_seconds=self.schedule_seconds,
            disable_after=timedelta(hours=self.webhook_disable_after_hours),
            keep=timedelta(days=self.webhook_retention_days),
        )

    @property
    def schedule_seconds(self) -> tuple[float, ...]:
        """The pauses before each attempt."""
        return _delays(self.webhook_schedule_seconds)

    @field_validator("webhook_encryption_keys")
    @classmethod
    def _keys(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("webhook_schedule_seconds")
    @classmethod
    def _schedule(cls, value: str) -> str:
        _delays(value)
        return value


def _delays(text: str) -> tuple[float, ...]:
    delays = tuple(float(part) for part in text.split(","))
    if not 1 <= len(delays) <= MOST_ATTEMPTS:
        raise ValueError(f"must be 1 to {MOST_ATTEMPTS} pauses")
    if not all(isfinite(delay) and 0 <= delay <= LONGEST_DELAY_SECONDS for delay in delays):
        raise ValueError(f"each pause must be 0 to {LONGEST_DELAY_SECONDS:.0f} seconds")
    return delays
