"""Typed settings, read from the environment and validated at start.

Every setting is an environment variable of its field's name in capitals; `NAME_FILE` may name a file that
holds the value instead (for secrets). Each subsystem declares its own small `Settings` subclass; a service's
settings combine them by inheritance.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pydantic
from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from quarry_common.errors import QuarryError
from quarry_common.fields import (
    CertificatesFile,
    HttpAddress,
    KeyFile,
    NatsAddresses,
    NatsCredentialsFile,
    NatsPassword,
    NatsToken,
    NatsUser,
    PostgresDsn,
    RedisAddress,
    RedisPassword,
    with_tls,
)

SettingsT = TypeVar("SettingsT", bound="Settings")


class SettingsError(QuarryError):
    """One or more settings are missing or wrong."""

    code = "settings_invalid"
    title = "The settings are not valid"
    advice = "Correct the environment variables named above; docs/configuration.md lists them all."

    def __init__(self, detail: str, *, advice: str | None = None) -> None:
        super().__init__(detail if detail.endswith(".") else f"{detail}.", advice=advice)


class Settings(BaseSettings):
    """Base of all settings: frozen, strict about values, blind to unknown variables."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


class NatsSettings(Settings):
    """Where the message bus is, and who this process is to it."""

    nats_url: NatsAddresses = Field(
        SecretStr("nats://127.0.0.1:4222"),
        description="NATS servers, separated by commas: `nats://`, or `tls://`, which is never without TLS. "
        "A login may stand in it: `nats://USER:PASSWORD@HOST:PORT`.",
    )
    nats_replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        1, description="Replicas of each JetStream stream; 3 on a cluster of three."
    )
    nats_ca_file: Annotated[CertificatesFile, with_tls("NATS_URL", "tls://")] = Field(
        "", description="Authorities that vouch for the NATS servers, in PEM; the system's when empty."
    )
    nats_cert_file: Annotated[CertificatesFile, with_tls("NATS_URL", "tls://")] = Field(
        "", description="Certificate of this process for NATS servers that ask for one (mutual TLS), in PEM."
    )
    nats_key_file: KeyFile = Field("", description="Key of that certificate, in PEM without a passphrase.")
    nats_user: NatsUser = Field("", description="User at NATS.")
    nats_password: NatsPassword = Field(SecretStr(""), description="Password of NATS_USER.")
    nats_token: NatsToken = Field(SecretStr(""), description="Token, for NATS servers that ask for one.")
    nats_creds_file: NatsCredentialsFile = Field(
        "",
        description="Credentials file with a user's JWT and seed, as `nsc` writes it; read anew at each "
        "connect.",
    )


class PostgresTlsSettings(Settings):
    """How the database is known, and how this process is known to it."""

    database_ca_file: CertificatesFile = Field(
        "",
        description="Authorities that vouch for the database, in PEM. The connection is then never without "
        "TLS, and its certificate and host name are verified; empty leaves that to `sslmode` in the DSN.",
    )
    database_cert_file: CertificatesFile = Field(
        "", description="Certificate of this process for a database that asks for one, in PEM."
    )
    database_key_file: KeyFile = Field(
        "", description="Key of that certificate, in PEM without a passphrase."
    )


class PostgresSettings(PostgresTlsSettings):
    """Where the database is, as one service's own role."""

    database_url: PostgresDsn = Field(
        SecretStr("postgresql://127.0.0.1:5432/quarry"), description="Postgres DSN of this service's role."
    )
    database_pool_size: Annotated[int, Field(ge=2, le=200)] = Field(
        10, description="Connections that one process may hold."
    )


class RedisSettings(Settings):
    """Where Redis is and how long it may take."""

    redis_url: RedisAddress = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis: `redis://`, `rediss://` (TLS) or "
        "`redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB`, `rediss+sentinel://` (TLS).",
    )
    redis_password: RedisPassword = Field(
        SecretStr(""), description="Password of the Redis servers, when REDIS_URL holds none."
    )
    redis_ca_file: Annotated[CertificatesFile, with_tls("REDIS_URL", "rediss://")] = Field(
        "", description="Authorities that vouch for Redis and its Sentinels, in PEM; the system's when empty."
    )
    redis_cert_file: Annotated[CertificatesFile, with_tls("REDIS_URL", "rediss://")] = Field(
        "", description="Certificate of this process for a Redis that asks for one, in PEM."
    )
    redis_key_file: KeyFile = Field("", description="Key of that certificate, in PEM without a passphrase.")
    redis_timeout_seconds: Annotated[float, Field(gt=0, le=5)] = Field(
        0.05, description="Time that Redis has to answer a command before work goes on without it."
    )
    redis_connect_timeout_seconds: Annotated[float, Field(gt=0, le=10)] = Field(
        0.25, description="Time that connecting to Redis may take."
    )
    redis_max_connections: Annotated[int, Field(ge=1, le=1000)] = Field(
        32, description="Connections to Redis that one process may hold."
    )


class QdrantSettings(Settings):
    """Where the vector index is and how it is built."""

    qdrant_url: HttpAddress = Field("http://127.0.0.1:6333", description="Qdrant's REST address.")
    qdrant_api_key: SecretStr = Field(SecretStr(""), description="Qdrant's API key, if it asks for one.")
    qdrant_ca_file: Annotated[CertificatesFile, with_tls("QDRANT_URL", "https://")] = Field(
        "", description="Authorities that vouch for Qdrant, in PEM; the system's when empty."
    )
    hnsw_m: Annotated[int, Field(ge=4, le=128)] = Field(16, description="HNSW edges within each tenant.")
    hnsw_ef_construct: Annotated[int, Field(ge=8, le=2000)] = Field(400, description="HNSW build beam.")
    hnsw_ef_search: Annotated[int, Field(ge=8, le=2000)] = Field(
        200, description="HNSW search beam; no shorter than what is asked for, 200 at least."
    )


class BlobSettings(Settings):
    """Where files and extracted texts are kept."""

    blob_url: str = Field("file:var/blobs", description="Blob store: `file:PATH` or `s3://BUCKET/PREFIX`.")
    blob_ca_file: CertificatesFile = Field(
        "", description="Authority that vouches for the S3 endpoint, in PEM, beside the system's."
    )


class TelemetrySettings(Settings):
    """Traces, metrics and logs."""

    telemetry_enabled: bool = Field(False, description="Whether traces are exported.")
    otlp_endpoint: str = Field(
        "http://localhost:4317", description="OTLP receiver: gRPC; HTTP when the port is 4318."
    )
    otlp_ca_file: Annotated[CertificatesFile, with_tls("OTLP_ENDPOINT", "https://")] = Field(
        "", description="Authorities that vouch for the OTLP receiver, in PEM; the system's when empty."
    )
    sampling_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Share of new traces that are sampled."
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR."
    )
    instance_id: str = Field("", description="Name of this process in telemetry; host and pid by default.")
    region: str = Field("", description="Region, as a resource attribute.")
    cluster: str = Field("", description="Cluster, as a resource attribute.")


class ProcessSettings(TelemetrySettings):
    """What every process needs."""

    ops_host: str = Field("127.0.0.1", description="Address of /livez, /readyz and /metrics.")
    ops_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port of /livez, /readyz and /metrics; 0 takes a free one."
    )
    shutdown_grace_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        20.0, description="Time that a stopping process has to finish what it is doing."
    )


def load(kind: type[SettingsT], environ: Mapping[str, str] | None = None) -> SettingsT:
    """Return the settings of `kind` from `environ` (the process's own by default).

    Raises `SettingsError` that names every variable that is wrong, what it holds and what it may hold.
    """
    values = dict(os.environ if environ is None else environ)
    given: dict[str, str] = {}
    for name in kind.model_fields:
        if value := value_of(name.upper(), values):
            given[name] = value
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        raise SettingsError("; ".join(_sentence(kind, item) for item in error.errors())) from None


def value_of(variable: str, environ: Mapping[str, str]) -> str:
    """Return what the variable holds, else what the file holds that `NAME_FILE` names; empty without either.

    Raises `SettingsError` when that file cannot be read.
    """
    if value := environ.get(variable):
        return value
    path = environ.get(f"{variable}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}_FILE names {path}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}_FILE names {path}, which is not UTF-8") from None


def _sentence(kind: type[Settings], item: object) -> str:
    assert isinstance(item, dict)  # noqa: S101 - the shape of pydantic's error list
    name = str(item["loc"][0]) if item["loc"] else "settings"
    field = kind.model_fields.get(name)
    # What is wrong with a missing one is all the others, among them secrets.
    secret = field is None or item["type"] == "missing" or "SecretStr" in str(field.annotation)
    shown = "" if secret else f" (it is {item.get('input')!r})"
    return f"{name.upper()}: {str(item['msg'])[:1].lower()}{str(item['msg'])[1:]}{shown}"
