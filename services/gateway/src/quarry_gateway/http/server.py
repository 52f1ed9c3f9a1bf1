"""The HTTP server as a part of the service."""

import asyncio
import logging
import socket

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from quarry_common.errors import QuarryError
from quarry_common.ops import free_port
from quarry_gateway.http.edge import App

log = logging.getLogger(__name__)

BACKLOG = 1024


class AddressInUseError(QuarryError):
    """The address of the HTTP API cannot be listened on."""

    code = "address_in_use"
    title = "The address cannot be listened on"
    advice = "Stop what listens there, or set HTTP_HOST and HTTP_PORT."


class HttpServer:
    """Serves the API until it is told to stop; then finishes the requests that were begun."""

    def __init__(self, app: App, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self.port = port or free_port(host)

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve. Raises `AddressInUseError` when the address is taken."""
        _require_free(self._host, self.port)
        server = Server(
            self._app,
            address=self._host,
            port=self.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,  # whoever stands before it may speak HTTP/2 to the world
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG,
        )
        serving = asyncio.create_task(server.serve())
        stop = asyncio.create_task(stopping.wait())
        log.info("serving http://%s:%d", self._host, self.port)
        try:
            await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
            # Closes the listening socket and idle connections, and waits for the requests in flight.
            server.stop()
            await serving
        finally:
            stop.cancel()
            serving.cancel()


def _require_free(host: str, port: int) -> None:
    # The server shares its port with others that do so too, so a second gateway would not be noticed.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressInUseError(f"Nobody can listen on {host}:{port}: {error.strerror}.") from None
