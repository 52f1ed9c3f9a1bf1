"""How a connection to the database begins: by which certificates, and what is told when it does not."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from pydantic import SecretStr

from quarry_common import tls
from quarry_common.errors import DeadlineExceededError, UnavailableError
from quarry_common.settings import PostgresTlsSettings, SettingsError

LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of an exchange
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)
"""What a connection ends by that another attempt may not meet with."""
ADDRESS = "postgresql://user:password@host:5432/database"


def tls_context(settings: PostgresTlsSettings) -> ssl.SSLContext | None:
    """Return what asyncpg shall connect by; None leaves it to `sslmode` in the DSN."""
    if not settings.database_ca_file and not settings.database_cert_file:
        return None
    return tls.context(settings.database_ca_file, settings.database_cert_file, settings.database_key_file)


async def connect(
    dsn: SecretStr, settings: PostgresTlsSettings, setting: str, *, seconds: float
) -> "asyncpg.Connection[asyncpg.Record]":
    """Return a connection outside any pool. Raises as `connecting` does."""
    with connecting(setting):
        return await asyncpg.connect(dsn.get_secret_value(), ssl=tls_context(settings), timeout=seconds)


@contextmanager
def connecting(setting: str) -> Iterator[None]:
    """Tell what keeps the server in `setting`, a DSN, from being connected to.

    Raises `SettingsError` for what only another setting can mend, `UnavailableError` and
    `DeadlineExceededError` for what may pass.
    """
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceededError(
            "The database did not answer in time.",
            advice=f"Start it, or correct {setting}.",
            retry_after_seconds=2,
        ) from error
    except (
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        ValueError,
    ) as error:
        raise _reason(error, setting) from (None if _may_show_the_dsn(error) else error)


def _reason(error: Exception, setting: str) -> SettingsError | UnavailableError:
    if fault := tls.fault(error, "The database", setting, "DATABASE"):
        return SettingsError(fault.detail, advice=fault.advice)
    if "rejected SSL upgrade" in str(error):
        return SettingsError(
            f"The database offers no TLS, which {setting} and DATABASE_CA_FILE ask for",
            advice="Turn `ssl` on in the server, or ask for no TLS.",
        )
    if str(error).startswith("root certificate file"):
        return SettingsError(
            f"{setting} has an sslmode that verifies the server, and nothing to verify it by",
            advice="Name the authority that issued the server's certificate in DATABASE_CA_FILE.",
        )
    if _may_show_the_dsn(error):
        return SettingsError(f"{setting} is not an address such as {ADDRESS}")
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, LOST):
        return SettingsError(
            f"The database refuses {setting}: {error}",
            advice=f"Correct the login in {setting}, or what the server's pg_hba.conf asks of it.",
        )
    return UnavailableError(
        f"The database cannot be reached: {error}.",
        advice=f"Start it, or correct {setting}.",
        retry_after_seconds=2,
    )


def _may_show_the_dsn(error: Exception) -> bool:
    """Whether asyncpg's own sentence, and so the trace, may hold a part of the password."""
    return isinstance(error, ValueError) and not isinstance(error, ssl.SSLError)
