"""The port that operators and probes talk to: /livez, /readyz and /metrics of one process."""

import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server

from quarry_common.health import Health
from quarry_common.settings import ProcessSettings, SettingsError
from quarry_common.telemetry import metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = "application/json"


async def answer(path: str, health: Health) -> tuple[int, str, bytes] | None:
    """Return status, content type and body for `path`, or None when it is not one of these pages."""
    match path:
        case "/livez":
            return 200, _JSON, b'{"status":"alive"}'
        case "/readyz":
            ready = await health.ready()
            checks = {name: msgspec.to_builtins(result) for name, result in (await health.results()).items()}
            body = {
                "status": "ready" if ready else "stopping" if health.stopping else "unready",
                "checks": checks,
            }
            return 200 if ready else 503, _JSON, msgspec.json.encode(body)
        case "/metrics":
            return 200, metrics.CONTENT_TYPE, metrics.exposition()
        case _:
            return None


class OpsApp:
    """The pages as a bare ASGI application."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        page = await answer(scope["path"], self._health)
        status, content_type, body = page or (404, _JSON, b'{"error":"try /livez, /readyz or /metrics"}')
        head = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})


def server(settings: ProcessSettings, health: Health) -> Server:
    """Return the server of the pages; it has yet to be started.

    Raises `SettingsError` when its port is taken: the server itself would only be silent.
    """
    if settings.ops_port:
        _require_free(settings.ops_host, settings.ops_port)
    return Server(
        OpsApp(health),
        address=settings.ops_host,
        port=settings.ops_port or free_port(settings.ops_host),
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
    )


def _require_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            return
    except OSError as error:
        raise SettingsError(
            f"OPS_PORT: cannot listen on {host}:{port}: {error.strerror}",
            advice="Stop what holds the port, or choose another OPS_PORT; 0 takes a free one.",
        ) from error


def free_port(host: str) -> int:
    """Return a port of `host` that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
