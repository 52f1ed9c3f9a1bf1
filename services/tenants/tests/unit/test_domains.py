"""Which names may be claimed, and what a look at the DNS means for one."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from quarry_common.contracts.domains import DomainState
from quarry_common.errors import ConflictError, ValidationError
from quarry_tenants.domain import domains
from quarry_tenants.domain.domains import Lookup, Outcome, StoredDomain

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PENDING = StoredDomain("search.acme.example", "token", DomainState.PENDING, NOW - timedelta(days=9))
VERIFIED = msgspec.structs.replace(PENDING, state=DomainState.VERIFIED, verified_at=NOW - timedelta(days=5))
RIGHT = Lookup(Outcome.FOUND, ("v=spf1 -all", "quarry-domain-verification=token"))
MISSING = [
    Lookup(Outcome.NO_NAME),
    Lookup(Outcome.NO_RECORD),
    Lookup(Outcome.FOUND, ("quarry-domain-verification=another",)),
]
SILENCE = Lookup(Outcome.UNANSWERED)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("search.acme.example", "search.acme.example"),
        ("Search.ACME.Example.", "search.acme.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("ＡＣＭＥ。example", "acme.example"),  # noqa: RUF001 - as an input method writes it
        ("faß.example", "xn--fa-hia.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
    ],
)
def test_a_name_is_kept_in_one_form(given: str, kept: str) -> None:
    assert domains.canonical(given) == kept
    assert domains.canonical(kept) == kept


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "localhost", "acme.", "a..b", ".acme.example", "acme.example:443", "https://acme.example",
        "acme.example/", "*.acme.example", "a_b.example", "-a.example", "a b.example", "a\0b.example",
        "192.0.2.1", "\uff11\uff19\uff12.0.2.1", "192.0.2.0x7f", "acme.0x", "[::1]", "::1",
        "xn--zzzz9999zz.example", f"{'a' * 64}.example", "a." * 126 + "example", "é" * 10_000,
    ],
)  # fmt: skip
def test_what_cannot_be_a_domain_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        domains.canonical(name)

    assert [error.field for error in caught.value.data.errors] == ["name"]


def test_a_name_is_short_enough_for_its_challenge_to_be_one_too() -> None:
    fits = ".".join(["a" * 60] * 3 + ["b" * 52])
    assert len(domains.record_name(domains.canonical(fits))) == 253

    with pytest.raises(ValidationError):
        domains.canonical(fits + "b")


@pytest.mark.parametrize(
    "name", ["quarry.example", "deep.search.quarry.example", "QUARRY.example.", "printer.local"]
)
def test_what_the_operator_reserves_is_nobodys(name: str) -> None:
    with pytest.raises(ValidationError, match="not valid") as caught:
        domains.canonical(name, domains.suffixes("Quarry.example, .local"))

    assert "reserved" in caught.value.data.errors[0].message


def test_a_name_that_only_ends_like_a_reserved_one_is_free() -> None:
    assert domains.canonical("notquarry.example", ("quarry.example",)) == "notquarry.example"


def test_a_suffix_that_is_no_name_is_said_so() -> None:
    with pytest.raises(ValueError, match="'no name' is not a domain name"):
        domains.suffixes("acme.example, no name")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("search.acme.example", "search.acme.example"),
        ("Search.Acme.Example.:8080", "search.acme.example"),
        ("Bücher.example:443", "xn--bcher-kva.example"),
        ("[::1]:8080", None),
        ("a b", None),
        ("", None),
        ("x" * 1000, None),
    ],
)
def test_a_host_header_holds_a_name(host: str, name: str | None) -> None:
    assert domains.host_name(host) == name


def test_a_token_is_not_to_be_guessed() -> None:
    first, second = domains.new_token(), domains.new_token()

    assert first != second
    assert len(first) == 43


@pytest.mark.parametrize("state", DomainState)
def test_the_right_record_verifies(state: DomainState) -> None:
    claim = msgspec.structs.replace(PENDING, state=state, missing_since=NOW, problem="It was missing.")

    after = domains.judged(claim, RIGHT, NOW)

    assert (after.state, after.missing_since, after.problem) == (DomainState.VERIFIED, None, "")


def test_it_tells_since_when_it_is_verified() -> None:
    assert domains.judged(PENDING, RIGHT, NOW).verified_at == NOW
    assert domains.judged(VERIFIED, RIGHT, NOW).verified_at == VERIFIED.verified_at


@pytest.mark.parametrize("wrong", ["", "TOKEN", "token2", "token ", "toke"])
def test_only_the_exact_value_verifies(wrong: str) -> None:
    lookup = Lookup(Outcome.FOUND, ("token", f"quarry-domain-verification={wrong}"))

    assert domains.judged(PENDING, lookup, NOW).state is DomainState.PENDING


@pytest.mark.parametrize("lookup", MISSING)
def test_a_verified_name_lapses_when_its_record_was_missing_for_72_hours(lookup: Lookup) -> None:
    missed = domains.judged(VERIFIED, lookup, NOW)
    early = domains.judged(missed, lookup, NOW + timedelta(hours=72, microseconds=-1))
    late = domains.judged(early, lookup, NOW + timedelta(hours=72))

    assert [claim.state for claim in (missed, early, late)] == ["verified", "verified", "lapsed"]
    assert missed.missing_since == early.missing_since == NOW
    assert missed.problem


def test_a_record_that_comes_back_in_between_begins_the_time_anew() -> None:
    missed = domains.judged(VERIFIED, MISSING[0], NOW)
    back = domains.judged(missed, RIGHT, NOW + timedelta(hours=40))

    assert domains.judged(back, MISSING[0], NOW + timedelta(hours=80)).state is DomainState.VERIFIED


def test_servers_that_do_not_answer_let_nothing_lapse() -> None:
    missed = domains.judged(VERIFIED, MISSING[0], NOW)

    unknown = domains.judged(missed, SILENCE, NOW + timedelta(days=30))

    assert unknown.state is DomainState.VERIFIED
    assert unknown.missing_since == NOW
    assert unknown.problem == domains.UNANSWERED


def test_a_name_that_was_never_verified_does_not_lapse() -> None:
    claim = PENDING
    for day in range(10):
        claim = domains.judged(claim, MISSING[0], NOW + timedelta(days=day))

    assert claim.state is DomainState.PENDING


def test_what_was_found_instead_is_told_briefly_and_without_what_steers_a_terminal() -> None:
    after = domains.judged(PENDING, Lookup(Outcome.FOUND, ("a\x1b[31m\0" + "x" * 1000,)), NOW)

    assert after.problem.startswith("The TXT record of _quarry-challenge.search.acme.example holds something")
    assert "a?[31m?xx" in after.problem
    assert len(after.problem) < 300


def test_a_tenant_has_so_many_domains_and_no_more() -> None:
    domains.check_room(19)
    with pytest.raises(ConflictError, match="20 domains"):
        domains.check_room(20)
