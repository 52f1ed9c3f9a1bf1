"""JSON lines on standard error, with the trace, the tenant and the request that they belong to."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from quarry_common.telemetry import tracing

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_SECRETS = re.compile(
    r"qk_(?:live|test)_[A-Za-z0-9_]+"  # API keys
    r"|(?<=://)[^/\s\"]+(?=@)"  # user, password or token in a URL, up to the last @
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/-]+=*)"
    r"|whsec_[A-Za-z0-9+/=]+"
)

_bound: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default=MappingProxyType({}))


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Add `fields` (such as tenant and request_id) to every line logged within."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def redact(text: str) -> str:
    """Return `text` without the secrets that may stand in it."""
    return _SECRETS.sub("[redacted]", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; secrets are replaced wherever they stand."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id := tracing.trace_id():
            line["trace_id"] = trace_id
        line.update(_bound.get())
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, default=str, ensure_ascii=False))


def start(service: str, level: str) -> None:
    """Make every logger of this process write JSON lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These tell of every message or request at INFO.
    for name in ("httpx", "httpcore", "faststream", "_granian", "granian.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
