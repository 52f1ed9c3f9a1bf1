"""Settings of the tenants service."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from quarry_common import keys
from quarry_common.errors import UnauthenticatedError
from quarry_common.settings import NatsSettings, PostgresSettings, ProcessSettings


class TenantsSettings(ProcessSettings, PostgresSettings, NatsSettings):
    """What the tenants service reads from its environment."""

    operator_key: SecretStr = Field(
        description="API key of the platform operator; a changed one revokes the one before it."
    )
    max_keys_per_tenant: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1_000, description="API keys that a tenant may have at a time, without revoked and expired ones."
    )

    @field_validator("operator_key")
    @classmethod
    def _well_formed(cls, value: SecretStr) -> SecretStr:
        try:
            keys.parse(value.get_secret_value())
        except UnauthenticatedError:
            raise ValueError("must be a key as `quarry_common.keys.generate` makes it, `qk_live_…`") from None
        return value
