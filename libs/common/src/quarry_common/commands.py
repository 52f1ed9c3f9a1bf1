"""`quarry run` and `quarry migrate`: the commands that every installation has."""

import asyncio
import sys
from collections.abc import Iterable

import click
from pydantic import Field, SecretStr

from quarry_common.contracts.streams import CONSUMERS, STREAMS
from quarry_common.embedding.load import open_embedder
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.errors import QuarryError
from quarry_common.fields import PostgresDsn
from quarry_common.messaging import outbox
from quarry_common.messaging.broker import connect
from quarry_common.messaging.provision import provision
from quarry_common.postgres import idempotency
from quarry_common.postgres.connecting import connect as connect_postgres
from quarry_common.postgres.migrations import migrate as migrate_schema
from quarry_common.postgres.migrations import read
from quarry_common.service import ServiceDefinition, definitions
from quarry_common.service import run as run_service
from quarry_common.settings import NatsSettings, PostgresTlsSettings, QdrantSettings, load
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex


class MigrateSettings(PostgresTlsSettings, NatsSettings, QdrantSettings, EmbedderSettings):
    """What `quarry migrate` needs besides."""

    migrate_database_url: PostgresDsn = Field(
        SecretStr("postgresql://127.0.0.1:5432/quarry"),
        description="Postgres DSN of the role that owns the schemas and may create roles.",
    )
    database_role_password: SecretStr = Field(
        SecretStr(""), description="Password given to the services' roles; empty leaves theirs as it is."
    )


@click.command()
@click.argument("service")
def run(service: str) -> None:
    """Run one SERVICE in this process until it is told to stop."""
    known = definitions()
    if service not in known:
        raise click.UsageError(f"There is no service {service!r}; there are {', '.join(known)}.")
    sys.exit(run_service(known[service]))


@click.command()
def migrate() -> None:
    """Bring database, streams and vector index to what this version needs. Safe to repeat."""
    try:
        settings = load(MigrateSettings)
        asyncio.run(migrate_all(settings, definitions().values()))
    except QuarryError as error:
        raise click.ClickException(f"{error.data.detail} {error.data.advice}") from error


async def migrate_all(settings: MigrateSettings, services: Iterable[ServiceDefinition]) -> None:
    """Migrate the schemas of `services`, the streams and the vector index."""
    await _migrate_database(settings, [service for service in services if service.migrations is not None])
    async with connect(settings, "quarry-migrate") as connection:
        await provision(connection.jetstream(timeout=10), STREAMS, CONSUMERS, settings.nats_replicas)
        click.echo(f"streams: {', '.join(stream.name for stream in STREAMS)}")
    async with open_embedder(settings) as embedder, connect_qdrant(settings) as qdrant:
        index = VectorIndex(qdrant, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        await index.ensure()
        click.echo(f"vector index: {index.collection}")


async def _migrate_database(settings: MigrateSettings, services: list[ServiceDefinition]) -> None:
    admin = await connect_postgres(
        settings.migrate_database_url, settings, "MIGRATE_DATABASE_URL", seconds=10
    )
    try:
        for service in services:
            assert service.migrations is not None  # noqa: S101 - the caller chose those that have some
            shared = [outbox.MIGRATIONS, idempotency.MIGRATIONS]
            steps = read([*shared, service.migrations], service.name)
            password = settings.database_role_password.get_secret_value()
            ran = await migrate_schema(admin, service.name, steps, password)
            told = ", ".join(f"{step.number:03}_{step.name}" for step in ran) or "up to date"
            click.echo(f"schema {service.name}: {told}")
    finally:
        await admin.close(timeout=5)
