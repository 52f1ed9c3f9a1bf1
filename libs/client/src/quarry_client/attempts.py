"""Decides after each attempt of a call: wait and send again, or tell the caller. No I/O happens here."""

from typing import TypeVar

import httpx

from quarry_client.answers import read_problem
from quarry_client.calls import Call
from quarry_client.errors import UnreachableError
from quarry_client.retry import KEY_IN_FLIGHT, TRANSIENT_STATUSES, RetryPolicy, parse_retry_after

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
        if response.status_code in self._expected or not self._repeatable or not _passes(response):
            return None
        retry_after = parse_retry_after(response.headers.get("retry-after"))
        if retry_after is None and _quota_is_used_up(response):
            return None
        return self._next_delay(retry_after)

    def after_end(self) -> float | None:
        """Return how long to wait after a stream that ended before its end, or None at the end."""
        return self._next_delay(None)

    def unfinished(self) -> UnreachableError:
        """Return the error that tells of a stream that ends again and again."""
        return UnreachableError(
            f"{self._name} ends again and again before anything is told.",
            "Look at `quarry status` and try again.",
        )

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


def _passes(response: httpx.Response) -> bool:
    """Whether the same request may succeed a little later."""
    if response.status_code != httpx.codes.CONFLICT:
        return response.status_code in TRANSIENT_STATUSES
    problem = read_problem(response)
    return problem is not None and problem.code == KEY_IN_FLIGHT


def _quota_is_used_up(response: httpx.Response) -> bool:
    """A rate limit passes with time and says when; a used-up quota stays."""
    problem = read_problem(response) if response.status_code == 429 else None
    return problem is not None and problem.code == "quota_exceeded"
