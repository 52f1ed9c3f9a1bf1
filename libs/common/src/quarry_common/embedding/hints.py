"""When a remote embedder wants to be asked again, as its answer's headers say."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
LONGEST_RESET_SECONDS = 60.0
"""A reset tells when the whole limit is there again, which is later than need be waited for."""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110: a number or a date), or None without it.

    A date counts from the answer's own `Date`, so that clocks need not agree. `retry-after-ms`, which some
    servers send besides, is the more exact one. `headers` are those of one answer, in any case of letters.
    """
    if (exact := _number(headers.get("retry-after-ms", ""))) is not None:
        return exact / 1000
    value = headers.get("retry-after", "")
    if (seconds := _number(value)) is not None:
        return seconds
    if (moment := _moment(value)) is None:
        return None
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def reset_seconds(headers: Mapping[str, str]) -> float | None:
    """Return when OpenAI's `x-ratelimit-reset-*` headers say that a limit which is used up is there again,
    a minute at most; None when they say nothing."""
    waits = []
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}", "0").strip() == "0":
            wait = _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
            if wait is not None:
                waits.append(min(wait, LONGEST_RESET_SECONDS))
    return max(waits, default=None)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _moment(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _duration(value: str) -> float | None:
    """Return the seconds of `6m0s`, `12ms` or a bare number of seconds."""
    value = value.strip()
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    return _number(value)
