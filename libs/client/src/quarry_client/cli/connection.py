"""Where a command connects to and as whom: options, environment, or the file that `quarry up` writes."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import click
import msgspec

from quarry_client.client import Client
from quarry_client.errors import ClientError
from quarry_client.retry import PROMPT, RetryPolicy

P = ParamSpec("P")
R = TypeVar("R")

CREDENTIALS_PATH: Final = Path("var", "credentials.json")
DEFAULT_URL: Final = "http://127.0.0.1:8080"


class Credentials(msgspec.Struct, frozen=True):
    """What `quarry up` writes for the person who started the platform."""

    url: str
    operator_key: str = ""
    tenant_slug: str = ""
    api_key: str = ""


class Connection(msgspec.Struct, frozen=True):
    """An address, a key, and the tenant that an operator's key acts for."""

    url: str
    api_key: str
    tenant: str | None = None


def find_credentials(start: Path) -> Credentials | None:
    """Return the credentials of the folder `start` or the nearest one above it that has them."""
    for folder in (start, *start.parents):
        path = folder / CREDENTIALS_PATH
        if not path.is_file():
            continue
        try:
            return msgspec.json.decode(path.read_bytes(), type=Credentials)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientError(
                f"{path} cannot be read: {error}.",
                "Run `quarry up` to write it again, or give --url and --api-key.",
            ) from error
    return None


def choose_connection(
    url: str | None,
    api_key: str | None,
    tenant: str | None,
    credentials: Credentials | None,
    *,
    operator: bool = False,
    of_tenant: bool = False,
) -> Connection:
    """Fill what was not given from `credentials`; their keys go to no other address than theirs.

    For another tenant than the one in the credentials, and for `operator` commands, the operator's key is
    used; an operator's command `of_tenant` acts for the tenant in the credentials when none was given.
    """
    if credentials and url and url.rstrip("/") != credentials.url.rstrip("/"):
        credentials = None
    chosen_url = url or (credentials.url if credentials else DEFAULT_URL)
    if api_key or credentials is None:
        return Connection(chosen_url, api_key or _missing_key(), tenant)
    if operator:
        tenant = tenant or (credentials.tenant_slug if of_tenant else None)
        return Connection(chosen_url, credentials.operator_key or _missing_key(), tenant)
    if tenant and tenant != credentials.tenant_slug:
        return Connection(chosen_url, credentials.operator_key or _missing_key(), tenant)
    return Connection(chosen_url, credentials.api_key or _missing_key())


def _missing_key() -> str:
    raise click.UsageError(
        "No API key: give --api-key, set QUARRY_API_KEY, or run the command where `quarry up` has left "
        f"{CREDENTIALS_PATH.as_posix()}."
    )


def with_client(
    *,
    operator: bool = False,
    operator_if: str | None = None,
    of_tenant: bool = False,
    retry: RetryPolicy = PROMPT,
    timeout_seconds: float = 30.0,
) -> Callable[[Callable[Concatenate[Client, P], R]], Callable[P, R]]:
    """Give a command the options of the connection, and an open client as its first argument.

    `operator_if` names a flag with which the command is an operator's, and for no tenant.
    """

    def decorate(command: Callable[Concatenate[Client, P], R]) -> Callable[P, R]:
        @click.option("--url", envvar="QUARRY_URL", help="Address of the API.  [env: QUARRY_URL]")
        @click.option("--api-key", envvar="QUARRY_API_KEY", help="Key to use.  [env: QUARRY_API_KEY]")
        @click.option(
            "--tenant",
            envvar="QUARRY_TENANT",
            help="Slug of the tenant an operator's key acts for.  [env: QUARRY_TENANT]",
        )
        @functools.wraps(command)
        def connected(
            url: str | None, api_key: str | None, tenant: str | None, *args: P.args, **kwargs: P.kwargs
        ) -> R:
            for_none = operator_if is not None and bool(kwargs[operator_if])
            if for_none and tenant:
                raise click.UsageError("That is for no tenant: leave out --tenant, and QUARRY_TENANT.")
            # What was given in full needs no file, not even a readable one.
            credentials = None if url and api_key else find_credentials(Path.cwd())
            chosen = choose_connection(
                url, api_key, tenant, credentials, operator=operator or for_none, of_tenant=of_tenant
            )
            with Client(chosen.url, chosen.api_key, chosen.tenant, timeout_seconds, retry) as client:
                return command(client, *args, **kwargs)

        return connected  # type: ignore[return-value]  # click passes the three by name

    return decorate


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
