"""What is kept of a response."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common.contracts.webhooks import Outcome
from quarry_webhooks.egress.exchange import KEPT_HEADERS, Answer, excerpt, kept_headers
from quarry_webhooks.egress.faults import Fault


@given(st.binary(max_size=6_000))
def test_an_excerpt_is_short_and_any_store_can_hold_it(body: bytes) -> None:
    text = excerpt(body)

    assert len(text) <= 1_024
    assert "\x00" not in text
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        ("Überlauf\n\tim Puffer".encode(), "Überlauf\n\tim Puffer"),
        (b"\x1f\x8b\x08\x00\xff", "\ufffd" * 5),
        (b"a\x1b[31mred", "a\ufffd[31mred"),
        ("€".encode() * 2_000, "€" * 1_024),
        (b"x" * 5_000, "x" * 1_024),
    ],
)
def test_an_excerpt_is_the_beginning_as_text(body: bytes, text: str) -> None:
    assert excerpt(body) == text


def test_few_headers_are_kept_and_each_is_short() -> None:
    given = dict.fromkeys(KEPT_HEADERS, "v" * 600) | {"set-cookie": "session=1", "x-internal": "1"}

    kept = kept_headers(given)

    assert set(kept) == set(KEPT_HEADERS)
    assert {len(value) for value in kept.values()} == {500}


def test_a_header_is_one_line_of_text() -> None:
    assert kept_headers({"server": "a\x00\x1b\udc80é"}) == {"server": "a\ufffd\ufffd\ufffdé"}


def test_a_fault_without_a_status_is_the_outcome() -> None:
    exchange = Answer().exchange(Fault(Outcome.TIMEOUT, "Too late."), 12.5)

    assert (exchange.outcome, exchange.status, exchange.detail) == (Outcome.TIMEOUT, None, "Too late.")
    assert exchange.duration_ms == 12.5
