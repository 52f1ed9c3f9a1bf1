"""Ask a server over its own protocol whether it is ready, with nothing but a socket."""

import json
import socket
from urllib.error import URLError
from urllib.request import urlopen

from quarry_local.ports import LOOPBACK

TIMEOUT_SECONDS = 2.0


def redis_ready(port: int, password: str, host: str = LOOPBACK) -> str:
    """Return an empty string when Redis answers PING (not while it loads its file), else why not."""
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as connection:
            auth = f"AUTH {password}\r\n" if password else ""
            connection.sendall(f"{auth}PING\r\n".encode())
            answer = _read_until(connection, b"PONG", b"-")
    except OSError as error:
        return str(error)
    return "" if "+PONG" in answer else answer.strip()


def nats_ready(port: int, user: str, password: str, host: str = LOOPBACK) -> str:
    """Return an empty string when JetStream answers a request for its account, else why not."""
    login = json.dumps({"verbose": False, "user": user, "pass": password})
    ask = f"CONNECT {login}\r\nSUB ready 1\r\nPUB $JS.API.INFO ready 0\r\n\r\n"
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as connection:
            connection.sendall(ask.encode())
            answer = _read_until(connection, b'"limits"', b"-ERR", b'"error"')
    except OSError as error:
        return str(error)
    return "" if '"limits"' in answer and '"error"' not in answer else answer.strip()[-200:]


def http_ready(url: str) -> str:
    """Return an empty string when GET `url` answers 200, else why not."""
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - http on loopback
            return "" if response.status == 200 else f"HTTP {response.status}"
    except URLError as error:
        return str(error.reason) if not hasattr(error, "code") else f"HTTP {error.code}"
    except OSError as error:
        return str(error)


def _read_until(connection: socket.socket, *marks: bytes) -> str:
    """Read until one of the marks was seen; the socket's timeout and 64 KB bound it."""
    read = b""
    while len(read) < 65_536 and not any(mark in read for mark in marks):
        more = connection.recv(4096)
        if not more:
            break
        read += more
    return read.decode("utf-8", "replace")
