"""What the client does when it is told that it asks too often, or for too much."""

import time
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from libs.client.tests.http_server import Received, Reply, problem, running_server

from quarry_client import ApiError, Client, RetryPolicy, calls
from quarry_client.attempts import Attempts
from quarry_client.cli.failure import Failure
from quarry_client.retry import PATIENT

POLICY = RetryPolicy(attempts=4, first_delay_seconds=0.1, longest_delay_seconds=5, budget_seconds=100_000)
HOURS = 3 * 3600
READ = calls.get_job(uuid4())
CONDITIONAL = calls.patch_document(uuid4(), if_match=3, tags=["a"])
"""What may not be sent again when it is unknown what became of it."""


def refusal(code: str, retry_after: float | None, status: int = 429) -> httpx.Response:
    headers = {"RateLimit": '"search";r=0;t=1'} | (
        {} if retry_after is None else {"Retry-After": str(retry_after)}
    )
    return httpx.Response(status, json={"code": code, "status": status, "detail": "No."}, headers=headers)


def wait(
    response: httpx.Response, call: calls.Call[object] = READ, policy: RetryPolicy = POLICY
) -> float | None:
    """Return how long is waited before the same is sent again; None when the refusal is told."""
    return Attempts(policy, call, "http://here").after_response(response)


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says() -> None:
    waited = wait(refusal("rate_limited", 7))
    assert waited is not None
    assert 7 <= waited <= 7.1


def test_a_rate_limit_longer_than_the_budget_is_told_at_once() -> None:
    assert wait(refusal("rate_limited", HOURS), policy=PATIENT) is None


@pytest.mark.parametrize("call", [READ, CONDITIONAL])
def test_a_rate_limit_without_a_time_is_waited_for_with_growing_pauses_that_end(
    call: calls.Call[object],
) -> None:
    attempts = Attempts(POLICY, call, "http://here")
    waited = [attempts.after_response(refusal("rate_limited", None)) for _ in range(POLICY.attempts)]
    assert waited.pop() is None
    for pause, longest in zip(waited, (0.1, 0.2, 0.4), strict=True):
        assert pause is not None
        assert longest / 2 <= pause <= longest


def test_rate_limits_that_go_on_end_in_an_error() -> None:
    attempts = Attempts(POLICY, READ, "http://here")
    waits = [attempts.after_response(refusal("rate_limited", 1)) for _ in range(POLICY.attempts)]
    assert [each is None for each in waits] == [False, False, False, True]


def test_what_was_refused_for_its_rate_was_not_done_and_is_sent_again_whatever_it_is() -> None:
    assert wait(refusal("rate_limited", 1), CONDITIONAL) is not None
    assert wait(refusal("unavailable", 1, status=503), CONDITIONAL) is None
    assert wait(refusal("quota_exceeded", 1), CONDITIONAL) is None


@pytest.mark.parametrize("retry_after", [HOURS, 6, None])
def test_a_used_up_quota_is_told_at_once_however_patient_the_client_is(retry_after: float | None) -> None:
    assert wait(refusal("quota_exceeded", retry_after)) is None


def test_a_quota_that_passes_within_the_longest_pause_is_waited_for() -> None:
    waited = wait(refusal("quota_exceeded", 5))
    assert waited is not None
    assert waited >= 5


def replies(*given: Reply) -> Callable[[Received], Reply]:
    left = list(given)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_search_over_the_rate_is_answered_after_the_time_that_was_named() -> None:
    answer = {"query_id": str(uuid4()), "mode": "hybrid", "query": "x", "total": 0, "results": []}
    busy = problem(429, "rate_limited", "Too many.", retry_after=1)
    started = time.monotonic()
    with running_server(replies(busy, Reply(200, answer))) as server, Client(server.url, "secret") as client:
        assert client.search("x").total == 0
    assert time.monotonic() - started >= 1
    assert len(server.received) == 2


def test_a_used_up_quota_of_a_day_is_told_with_when_it_passes() -> None:
    used_up = problem(429, "quota_exceeded", "No more searches.", retry_after=HOURS)
    told = pytest.raises(ApiError, match="No more searches")
    with running_server(replies(used_up)) as server, Client(server.url, "secret") as client, told as caught:
        client.search("x")
    assert len(server.received) == 1
    assert caught.value.retry_after_seconds == HOURS


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(45, "45 s"), (119.5, "120 s"), (600, "10 min"), (HOURS + 61, "3 h 2 min")],
)
def test_a_command_tells_when_to_try_again(seconds: float, told: str) -> None:
    error = ApiError(429, "quota_exceeded", "No more.", "Wait.", retry_after_seconds=seconds)
    assert Failure.of(error).format_message().splitlines() == [
        "No more. (quota_exceeded)",
        f"  Try again in {told}.",
        "Wait.",
    ]
