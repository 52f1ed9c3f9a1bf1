"""Decides after each attempt of a call: wait and send again, or tell the caller. No I/O happens here."""

from typing import TypeVar

import httpx

from quarry_client.answers import read_problem
from quarry_client.calls import Call
from quarry_client.errors import UnreachableError
from quarry_client.retry import (
    KEY_IN_FLIGHT,
    QUOTA_EXCEEDED,
    RATE_LIMITED,
    TRANSIENT_STATUSES,
    RetryPolicy,
    parse_retry_after,
)

T = TypeVar("T")

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Attempts:
    """Counts the failures of one call and the time spent waiting."""

    def __init__(self, policy: RetryPolicy, call: Call[T], base_url: str) -> None:
        self._policy = policy
        self._name = f"{call.method} {base_url}{call.path}"
        self._base_url = base_url
        self._repeatable = call.repeatable
        self._expected = call.accepted_statuses
        self._failures = 0
        self._waited_seconds = 0.0

    def after_failure(self, error: httpx.RequestError) -> float:
        """Return how long to wait before sending again; raises UnreachableError at the end."""
        may_repeat = isinstance(error, httpx.TransportError) and (
            self._repeatable or isinstance(error, _NEVER_SENT)
        )
        delay = self._next_delay(None) if may_repeat else None
        if delay is None:
            raise self._unreachable(error) from error
        return delay

    def after_response(self, response: httpx.Response) -> float | None:
        """Return how long to wait before sending again, or None when this response is the answer."""
        if response.status_code in self._expected or response.is_success:
            return None
        code = _code(response)
        # What was refused for its rate was not done, so whatever it is may be sent again.
        if not (self._repeatable or code == RATE_LIMITED) or not _passes(response.status_code, code):
            return None
        retry_after = parse_retry_after(response.headers.get("retry-after"))
        if code == QUOTA_EXCEEDED and not self._passes_soon(retry_after):
            return None
        return self._next_delay(retry_after)

    def broken_off(self, error: httpx.RequestError) -> UnreachableError:
        """Return the error that tells of an answer of which the beginning came, and was told, and no more."""
        return UnreachableError(
            f"{self._name} broke off before its end ({_reason(error)}).",
            "What came so far is not all of it; ask again from the beginning.",
        )

    def after_end(self) -> float | None:
        """Return how long to wait after a stream that ended before its end, or None at the end."""
        return self._next_delay(None)

    def unfinished(self) -> UnreachableError:
        """Return the error that tells of a stream that ends again and again."""
        return UnreachableError(
            f"{self._name} ends again and again before anything is told.",
            "Look at `quarry status` and try again.",
        )

    def _passes_soon(self, retry_after_seconds: float | None) -> bool:
        """Whether a used-up quota is worth waiting for: it may be that of a day, which is over in hours."""
        return retry_after_seconds is not None and retry_after_seconds <= self._policy.longest_delay_seconds

    def _next_delay(self, retry_after_seconds: float | None) -> float | None:
        self._failures += 1
        delay = self._policy.delay_seconds(self._failures, self._waited_seconds, retry_after_seconds)
        self._waited_seconds += delay or 0.0
        return delay

    def _unreachable(self, error: httpx.RequestError) -> UnreachableError:
        if isinstance(error, _NEVER_SENT):
            return UnreachableError(
                f"Nothing answers at {self._base_url} ({_reason(error)}).",
                "Start the platform with `quarry up`, or correct the URL (--url or QUARRY_URL).",
            )
        return UnreachableError(
            f"{self._name} got no complete answer ({_reason(error)}).",
            "Look at `quarry status` and try again."
            if self._repeatable
            else "Look whether it took effect before you try again.",
        )


def _reason(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    return str(error).rstrip(".") or type(error).__name__


def _code(response: httpx.Response) -> str:
    """Return what the problem document in `response` calls the problem; empty when there is none."""
    problem = read_problem(response)
    return problem.code if problem is not None else ""


def _passes(status: int, code: str) -> bool:
    """Whether the same request may succeed a little later."""
    return code == KEY_IN_FLIGHT if status == httpx.codes.CONFLICT else status in TRANSIENT_STATUSES
