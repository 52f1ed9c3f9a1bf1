from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from quarry_common.contracts.webhooks import DeliveryState, DisabledReason, Outcome
from quarry_webhooks.domain.results import Attempt, Verdict, bucket, disables, judge

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DELAYS = (0.0, 10.0, 100.0)
FAILED = Attempt(
    delivery_id=UUID(int=1),
    step=0,
    started_at=NOW,
    ended_at=NOW,
    duration_ms=5.0,
    outcome=Outcome.REFUSED,
    status=500,
    detail="It answered 500.",
    url="https://acme.example/hooks",
    request_headers={},
    response_headers={},
    response_excerpt="",
)
DELIVERED = msgspec.structs.replace(FAILED, outcome=Outcome.DELIVERED, status=204)


def at_step(step: int) -> Attempt:
    return msgspec.structs.replace(FAILED, step=step)


def test_what_was_delivered_is_done() -> None:
    verdict = judge(DELIVERED, DELAYS, disabled=None, patience=NOW + timedelta(hours=1))

    assert verdict == Verdict(DeliveryState.DELIVERED)


def test_what_failed_is_tried_again_after_the_next_delay() -> None:
    verdict = judge(at_step(1), DELAYS, disabled=None, patience=None)

    assert verdict.state is DeliveryState.PENDING
    assert verdict.next_attempt_at is not None
    assert timedelta(seconds=100) <= verdict.next_attempt_at - NOW <= timedelta(seconds=110)


def test_it_is_not_tried_before_the_endpoint_wants_it() -> None:
    late, soon = NOW + timedelta(hours=1), NOW + timedelta(seconds=1)

    assert judge(at_step(0), DELAYS, disabled=None, patience=late).next_attempt_at == late
    sooner = judge(at_step(0), DELAYS, disabled=None, patience=soon).next_attempt_at
    assert sooner is not None
    assert sooner >= NOW + timedelta(seconds=10)


def test_the_last_attempt_decides() -> None:
    assert judge(at_step(2), DELAYS, disabled=None, patience=None) == Verdict(DeliveryState.FAILED)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (DisabledReason.OWNER, DeliveryState.FAILED),
        (DisabledReason.GONE, DeliveryState.HELD),
        (DisabledReason.FAILING, DeliveryState.HELD),
    ],
)
def test_an_endpoint_that_is_disabled_gets_one_forced_attempt(
    reason: DisabledReason, state: DeliveryState
) -> None:
    assert judge(at_step(0), DELAYS, disabled=reason, patience=None) == Verdict(state)
    assert judge(DELIVERED, DELAYS, disabled=reason, patience=None) == Verdict(DeliveryState.DELIVERED)


def test_who_wants_no_more_says_so() -> None:
    assert disables(410, {}) is DisabledReason.GONE
    assert disables(200, {"Webhook-Delivery": "Disable"}) is DisabledReason.REQUESTED
    assert disables(500, {"webhook-delivery": "enable"}) is None
    assert disables(404, {}) is None
    assert disables(None, {}) is None


@pytest.mark.parametrize("n", [1, 2, 10, 50, 100])
def test_a_bucket_holds_a_tenth_more_than_the_one_before(n: int) -> None:
    assert bucket(1.1**n) == n
    assert bucket(1.1**n * 1.001) == n + 1


def test_the_first_bucket_holds_all_up_to_a_millisecond() -> None:
    assert [bucket(ms) for ms in (0.0, 0.2, 1.0)] == [0, 0, 0]
