"""The arithmetic of the limits: no minute sees more than is allowed, and not much less."""

from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_common.embedding.budget import UNLIMITED, Gate, requests_gate, tokens_gate


def sent_within(gate: Gate, costs: list[float], seconds: float) -> list[tuple[float, float]]:
    """Return when, in so many seconds, a sender who always wants to send may send, and how much."""
    now = paid_at = 0.0
    sent = []
    while now < seconds:
        cost = costs[len(sent) % len(costs)]
        wait = gate.wait_seconds(paid_at, cost, now)
        if wait > 1e-9:
            now += wait
            continue
        paid_at = gate.paid_at(paid_at, cost, now)
        sent.append((now, cost))
    return sent


def most_in_a_minute(sent: list[tuple[float, float]]) -> float:
    return max(sum(cost for at, cost in sent if start <= at < start + 59.999) for start, _ in sent)


@settings(max_examples=60, deadline=None)
@given(per_minute=st.integers(1, 300))
def test_no_minute_sees_more_requests_than_allowed(per_minute: int) -> None:
    sent = sent_within(requests_gate(per_minute), [1], 240)
    assert most_in_a_minute(sent) <= per_minute
    assert len(sent) >= 4 * per_minute * 0.9 - 1


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1024, 100_000),
    costs=st.lists(st.floats(0.05, 1), min_size=1, max_size=5),
)
def test_no_minute_sees_more_tokens_than_allowed(per_minute: int, costs: list[float]) -> None:
    gate = tokens_gate(per_minute, 512)
    sent = sent_within(gate, [cost * gate.burst for cost in costs], 240)
    assert most_in_a_minute(sent) <= per_minute * (1 + 1e-6)
    assert sum(cost for _, cost in sent) >= 4 * per_minute * 0.49


def test_no_limit_never_waits() -> None:
    assert requests_gate(0) == tokens_gate(0, 512) == UNLIMITED
    assert UNLIMITED.wait_seconds(0.0, 1e9, 5.0) <= 0
