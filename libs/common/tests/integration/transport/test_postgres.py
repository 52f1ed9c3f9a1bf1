"""Postgres over TLS: who is let in, who is not, and what is told then."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.tls import HOST, Authority

from quarry_common.commands import MigrateSettings, migrate_all
from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import PostgresSettings, SettingsError, load
from quarry_local.ports import free_port
from quarry_local.servers.postgres import ADMIN

from .conftest import PASSWORD, Told

# The driver ends TLS in the background: what is not closed yet when a test is over is no fault of the test.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*unclosed:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed"
)


@dataclass
class Server:
    """A Postgres that speaks TLS alone, and the authority that vouches for it."""

    port: int
    authority: Authority

    def dsn(
        self, *, host: str = HOST, password: str = PASSWORD, database: str = "quarry", mode: str = ""
    ) -> str:
        options = f"?sslmode={mode}" if mode else ""
        return f"postgresql://{ADMIN}:{password}@{host}:{self.port}/{database}{options}"

    def settings(self, dsn: str, ca_file: str | None = None) -> PostgresSettings:
        ca_file = self.authority.ca_file if ca_file is None else ca_file
        return load(PostgresSettings, {"DATABASE_URL": dsn, "DATABASE_CA_FILE": ca_file})


@pytest.fixture(scope="module")
def server(postgres_port: int, authority: Authority) -> Server:
    return Server(postgres_port, authority)


async def encrypted(settings: PostgresSettings) -> bool:
    """Whether the server sees the pool's connection encrypted."""
    async with connect_pool(settings, "probe") as database, database.session() as connection:
        return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))


async def refused(settings: PostgresSettings) -> QuarryError:
    with pytest.raises(SettingsError) as caught:
        async with connect_pool(settings, "probe"):
            pass
    return caught.value


@pytest.mark.parametrize("mode", ["", "verify-full"])
async def test_a_server_is_trusted_by_its_authority(server: Server, mode: str) -> None:
    assert await encrypted(server.settings(server.dsn(mode=mode)))


async def test_an_unknown_authority_is_refused(server: Server, stranger: Authority, told: Told) -> None:
    why = told(await refused(server.settings(server.dsn(), stranger.ca_file)))

    assert "The database has a certificate that is not trusted" in why
    assert "DATABASE_CA_FILE" in why


async def test_the_certificate_of_another_host_is_refused(server: Server, told: Told) -> None:
    why = told(await refused(server.settings(server.dsn(host="localhost"))))

    assert "a certificate for another host" in why
    assert "DATABASE_URL" in why


async def test_a_wrong_password_is_told_as_such(server: Server, told: Told) -> None:
    why = told(await refused(server.settings(server.dsn(password=PASSWORD[:-1]))))

    assert "password authentication failed" in why
    assert "Correct the login in DATABASE_URL" in why


async def test_nobody_who_answers_is_told_as_such(server: Server, told: Told) -> None:
    settings = server.settings(f"postgresql://{ADMIN}:{PASSWORD}@{HOST}:{free_port()}/quarry")

    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        async with connect_pool(settings, "probe"):
            pass
    assert "correct DATABASE_URL" in told(caught.value)


async def test_a_server_without_tls_is_refused(postgres_admin_dsn: str, server: Server, told: Told) -> None:
    why = told(await refused(server.settings(postgres_admin_dsn)))

    assert why.startswith("The database offers no TLS")


async def test_require_encrypts_and_does_not_verify(server: Server) -> None:
    assert await encrypted(server.settings(server.dsn(host="localhost", mode="require"), ca_file=""))


async def test_require_verifies_by_the_authority_that_the_dsn_names(
    server: Server, stranger: Authority, told: Told
) -> None:
    dsn = f"{server.dsn(host='localhost', mode='require')}&sslrootcert="

    assert await encrypted(server.settings(f"{dsn}{server.authority.ca_file}", ca_file=""))
    assert "not trusted" in told(await refused(server.settings(f"{dsn}{stranger.ca_file}", ca_file="")))


async def test_a_mode_that_verifies_needs_an_authority(
    server: Server, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where libpq's own default would be

    why = told(await refused(server.settings(server.dsn(mode="verify-full"), ca_file="")))

    assert "DATABASE_CA_FILE" in why


async def test_migrations_connect_in_the_same_way(server: Server, stranger: Authority, told: Told) -> None:
    for ca_file, dsn, words in (
        (stranger.ca_file, server.dsn(), "not trusted"),
        (server.authority.ca_file, server.dsn(password=PASSWORD[:-1]), "refuses MIGRATE_DATABASE_URL"),
    ):
        settings = load(MigrateSettings, {"MIGRATE_DATABASE_URL": dsn, "DATABASE_CA_FILE": ca_file})
        with pytest.raises(SettingsError) as caught:
            await migrate_all(settings, [])
        assert words in told(caught.value)
