"""How a connection to NATS begins: by which certificates and login, and what is told when it does not."""

import asyncio
import logging
from functools import partial
from typing import Any

from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError

from quarry_common import tls
from quarry_common.messaging import address, credentials
from quarry_common.settings import NatsSettings, SettingsError

log = logging.getLogger(__name__)

_LOGIN_REFUSED = ("authorization violation", "authentication expired", "authentication timeout")


class NoTlsError(NatsError):
    """The server speaks without TLS where the settings ask for it."""

    def __init__(self) -> None:
        super().__init__("nats: the server offers no TLS")


class CredentialsError(NatsError):
    """The credentials file cannot be used any more; nats-py tries again after errors of its own kind only."""


class TlsClient(Client):
    """nats-py's client without two of its weaknesses.

    It leaves it to the server's first line whether there is TLS: anybody on the way could take that out and
    read the login. With a context for TLS, this one does not go on without. And after a handshake that
    failed, it waits for ever for the end of a connection that it no longer has, and tries no other server.
    """

    has_connected = False

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except OSError as error:
            transport = self._transport
            if self.has_connected or not isinstance(transport, TcpTransport):
                raise
            self._transport = None
            transport.close()
            # What a server said before it hung up is known to the reader alone.
            said = transport._io_reader.exception() if transport._io_reader is not None else None
            if said is None or said is error:
                raise
            raise error from said

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and "tls" in self.options:
            if not info.get("tls_required") and not info.get("tls_available"):
                raise NoTlsError
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)


class TlsBroker(NatsBroker):
    """FastStream's broker over a connection of `open_client`."""

    def __init__(self, settings: NatsSettings, **options: Any) -> None:
        super().__init__(servers(settings), **options)
        self._settings = settings

    async def _connect(self) -> Client:
        client = await open_client(self._settings, **self._connection_kwargs)
        self.config.connect(client)
        return client


async def open_client(settings: NatsSettings, **options: Any) -> Client:
    """Return a client that has connected as the settings say, and with `options` of nats-py besides.

    Raises `SettingsError` when every server was tried and one refuses, as `refusal` tells; it goes on trying
    while none answers.
    """
    client = TlsClient()
    failures = _Failures(settings, client)
    told = {"servers": servers(settings), "error_cb": failures.tell, **_security(settings)}
    try:
        await client.connect(**{**options, **told})
    except BaseException:
        await close(client)
        raise
    client.has_connected = True
    return client


async def close(client: Client) -> None:
    """Let go of the connection, within two seconds."""
    try:
        async with asyncio.timeout(2):
            await client.close()
    except (TimeoutError, NatsError, OSError):
        log.warning("message bus: the connection did not close in time")


def servers(settings: NatsSettings) -> list[str]:
    """Return the addresses in the settings."""
    return list(address.parse(settings.nats_url.get_secret_value()).urls)


def _security(settings: NatsSettings) -> dict[str, object]:
    """Return what `Client.connect` is told of TLS and the login."""
    options: dict[str, object] = {}
    if address.parse(settings.nats_url.get_secret_value()).tls:
        options["tls"] = tls.context(settings.nats_ca_file, settings.nats_cert_file, settings.nats_key_file)
    if settings.nats_user:
        options |= {"user": settings.nats_user, "password": settings.nats_password.get_secret_value()}
    if token := settings.nats_token.get_secret_value():
        options["token"] = token
    if path := settings.nats_creds_file:
        options["user_jwt_cb"] = partial(_jwt, path)
        options["signature_cb"] = partial(_signature, path)
    return options


def _jwt(path: str) -> bytes:
    return _credentials(path).jwt.encode()


def _signature(path: str, nonce: str) -> bytes:
    return _credentials(path).sign(nonce)


def _credentials(path: str) -> credentials.Credentials:
    try:
        return credentials.read(path)
    except ValueError as error:
        raise CredentialsError(f"NATS_CREDS_FILE: {error}") from None


def refusal(error: Exception, settings: NatsSettings) -> SettingsError | None:
    """Return what only another setting can mend, when that is why a server could not be connected to."""
    if isinstance(error, NoTlsError):
        return SettingsError(
            "The NATS server offers no TLS, so no login was sent",
            advice="Turn TLS on in the server, or write `nats://` in NATS_URL.",
        )
    if fault := tls.fault(error, "The NATS server", "NATS_URL", "NATS"):
        return SettingsError(fault.detail, advice=fault.advice)
    if isinstance(error, CredentialsError):
        return SettingsError(str(error), advice="Put a file of `nsc generate creds` there.")
    if any(words in str(error).lower() for words in _LOGIN_REFUSED):
        return SettingsError(
            "The NATS server refuses the login", advice=f"Correct {_login(settings)}, or the server's users."
        )
    return None


def _login(settings: NatsSettings) -> str:
    if settings.nats_creds_file:
        return "NATS_CREDS_FILE"
    if settings.nats_token.get_secret_value():
        return "NATS_TOKEN"
    if settings.nats_user:
        return "NATS_USER and NATS_PASSWORD"
    if address.parse(settings.nats_url.get_secret_value()).login:
        return "the login in NATS_URL"
    return "NATS_USER and NATS_PASSWORD, NATS_TOKEN or NATS_CREDS_FILE: none is given"


class _Failures:
    """Hears of what fails, and ends the first connecting as soon as every server was tried and one refused:
    nats-py would go on asking, and only that time has passed would be known.
    """

    def __init__(self, settings: NatsSettings, client: TlsClient) -> None:
        self._settings = settings
        self._client = client
        self._untried = len(servers(settings))
        self._refused: SettingsError | None = None

    async def tell(self, error: Exception) -> None:
        """Log an error that the client met with. Raises `SettingsError` to end the first connecting."""
        refused = refusal(error, self._settings)
        if refused is not None:
            log.warning("message bus: %s %s", refused.data.detail, refused.data.advice)
        else:
            log.warning("message bus: %s", str(error) or type(error).__name__)
        if self._client.has_connected:
            return
        self._untried -= 1
        self._refused = self._refused or refused
        if self._refused is not None and self._untried <= 0:
            raise self._refused from error
