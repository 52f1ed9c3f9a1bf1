"""A real HTTP server on a free port of loopback, which answers as a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        decoded = json.loads(self.body)
        assert isinstance(decoded, dict)
        return decoded


@dataclass(frozen=True)
class Reply:
    """What to send back; a body that is no bytes is sent as JSON, and an iterator's bytes piece by piece.

    An iterator that raises ConnectionError breaks the answer off.
    """

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


Answerer = Callable[[Received], Reply]


@dataclass
class Server:
    """A running server."""

    url: str
    answer: Answerer
    received: list[Received]

    def paths(self, method: str = "") -> list[str]:
        return [request.path for request in self.received if not method or request.method == method]


def problem(status: int, code: str, detail: str, **more: object) -> Reply:
    """A problem document as the API writes it."""
    retry_after = more.pop("retry_after", None)
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    body = {"type": f"/problems/{code}", "title": code, "status": status, "code": code, "detail": detail}
    return Reply(status, body | {"request_id": "req-1"} | more, headers)


@contextmanager
def running_server(answer: Answerer) -> Iterator[Server]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, unquote(parts.path), query, headers, body)
            with lock:
                server.received.append(request)
            reply = server.answer(request)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if isinstance(reply.body, Iterator):
                self._send_pieces(reply.body)
                return
            sent = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def _send_pieces(self, pieces: Iterator[bytes]) -> None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - the base class looks for them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    lock = threading.Lock()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    server = Server(f"http://127.0.0.1:{http.server_port}", answer, [])
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join(timeout=5)
