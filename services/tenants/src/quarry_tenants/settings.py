"""Settings of the tenants service."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from quarry_common import keys
from quarry_common.errors import UnauthenticatedError
from quarry_common.settings import NatsSettings, PostgresSettings, ProcessSettings
from quarry_tenants.domain.domains import suffixes
from quarry_tenants.txt_records import nameservers


class TenantsSettings(ProcessSettings, PostgresSettings, NatsSettings):
    """What the tenants service reads from its environment."""

    operator_key: SecretStr = Field(
        description="API key of the platform operator; a changed one revokes the one before it."
    )
    tenant_grace_hours: Annotated[float, Field(ge=0, le=8_760)] = Field(
        168.0,
        description="Hours after which a tenant that was deleted is purged; until then it can be restored.",
    )
    key_dormant_days: Annotated[int, Field(ge=1, le=3_650)] = Field(
        30, description="Days without use after which a key that is used again is told of as an anomaly."
    )

    reserved_domains: str = Field(
        "",
        description="Names that no tenant may claim as its domain, nor any below them, separated by commas: "
        "those of this installation itself.",
    )
    domain_nameservers: str = Field(
        "",
        description="DNS servers that are asked for the records of tenants' domains, `IP` or `IP:PORT`, "
        "separated by commas; none: those of the machine.",
    )

    @field_validator("operator_key")
    @classmethod
    def _well_formed(cls, value: SecretStr) -> SecretStr:
        try:
            keys.parse(value.get_secret_value())
        except UnauthenticatedError:
            raise ValueError("must be a key as `quarry_common.keys.generate` makes it, `qk_live_…`") from None
        return value

    @field_validator("reserved_domains")
    @classmethod
    def _names(cls, value: str) -> str:
        suffixes(value)
        return value

    @field_validator("domain_nameservers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        nameservers(value)
        return value
