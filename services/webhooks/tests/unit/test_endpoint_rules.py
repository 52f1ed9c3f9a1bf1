from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from quarry_common.contracts.webhooks import DisabledReason, EndpointChanges, NewEndpoint
from quarry_common.errors import PreconditionFailedError, ValidationError
from quarry_webhooks import signing
from quarry_webhooks.domain import endpoints as rules
from quarry_webhooks.domain.endpoints import Stored
from quarry_webhooks.egress.networks import parse_networks
from quarry_webhooks.egress.urls import Policy

HTTPS_ONLY = SimpleNamespace(policy=Policy())
HTTP_TOO = SimpleNamespace(policy=Policy(parse_networks("127.0.0.0/8"), allow_http=True))
NOW = datetime(2026, 11, 27, tzinfo=UTC)
URL = "https://acme.example/hooks"


def stored(**fields: object) -> Stored:
    return Stored(
        **{
            "id": UUID(int=1),
            "tenant_id": UUID(int=2),
            "url": URL,
            "description": "",
            "event_types": ["*"],
            "header_names": [],
            "headers": b"sealed",
            "secret": b"old",
            "enabled": True,
            "disabled_reason": None,
            "ordered": False,
            "requests_per_second": None,
            **fields,
        }  # type: ignore[arg-type]
    )


def fields_of(caught: pytest.ExceptionInfo[ValidationError]) -> list[str]:
    return [error.field for error in caught.value.data.errors]


@pytest.mark.parametrize("url", [URL, "https://acme.example", "https://acme.example:8443/a?b=c"])
def test_a_public_url_over_https_may_be_used(url: str) -> None:
    assert rules.checked_url(url, HTTPS_ONLY) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.example/hooks",
        "ftp://acme.example/hooks",
        "//acme.example/hooks",
        "acme.example",
        "https://",
        "https:///hooks",
        "https://user:password@acme.example/",
        "https://acme.example/a b",
        "https://acme.example/\\evil",
        "https://acme.example/#part",
        "https://[::1/",
        "https://acme.example:70000/",
        "https://acme.example/" + "a" * 2_048,
    ],
)
def test_another_url_may_not(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rules.checked_url(url, HTTPS_ONLY)

    assert fields_of(caught) == ["url"]


def test_http_may_be_used_where_the_operator_allows_it() -> None:
    assert rules.checked_url("http://127.0.0.1:9000/", HTTP_TOO)


def test_all_that_is_wrong_is_told_at_once() -> None:
    new = NewEndpoint(
        "http://acme.example", event_types=["document.*", "documnet.*"], secret="whsec_c2hvcnQ="
    )

    with pytest.raises(ValidationError) as caught:
        rules.check_new(new, HTTPS_ONLY)

    assert fields_of(caught) == ["url", "event_types[1]", "secret"]


def test_filters_name_types_that_there_are() -> None:
    rules.check_new(NewEndpoint(URL, event_types=["*", "document.*", "job.failed"]), HTTPS_ONLY)


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Content-Type", "Webhook-Id", "webhook-signature", "User-Agent"]
)
def test_headers_of_the_platform_are_not_overridden(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rules.check_new(NewEndpoint(URL, headers={name: "mine"}), HTTPS_ONLY)

    assert fields_of(caught) == [f"headers.{name}"]


def test_a_header_is_named_once() -> None:
    with pytest.raises(ValidationError):
        rules.check_new(NewEndpoint(URL, headers={"X-Team": "a", "x-team": "b"}), HTTPS_ONLY)


def test_headers_are_bounded_together() -> None:
    with pytest.raises(ValidationError):
        rules.check_new(NewEndpoint(URL, headers={f"X-{n}": "v" * 1_000 for n in range(9)}), HTTPS_ONLY)


def test_a_change_needs_a_filter() -> None:
    with pytest.raises(ValidationError) as caught:
        rules.check_changes(EndpointChanges(event_types=[]), HTTPS_ONLY)

    assert fields_of(caught) == ["event_types"]


def test_a_change_counts_as_a_revision_and_no_change_does_not() -> None:
    before = stored()

    assert rules.changed(before, EndpointChanges(description="x"), None, NOW).revision == 2
    assert rules.changed(before, EndpointChanges(url=URL, enabled=True), None, NOW) is before


def test_the_owner_switches_off_and_on() -> None:
    off = rules.changed(stored(), EndpointChanges(enabled=False), None, NOW)
    on = rules.changed(off, EndpointChanges(enabled=True), None, NOW)

    assert (off.enabled, off.disabled_reason, off.disabled_at) == (False, DisabledReason.OWNER, NOW)
    assert (on.enabled, on.disabled_reason, on.disabled_at) == (True, None, None)


def test_headers_take_the_place_of_those_before() -> None:
    after = rules.changed(stored(), EndpointChanges(headers={"X-Team": "a"}), b"new", NOW)

    assert (after.header_names, after.headers) == (["X-Team"], b"new")


def test_the_secret_before_signs_until_the_overlap_is_over() -> None:
    after = rules.rotated(stored(), b"new", 24, NOW)

    assert (after.secret, after.previous_secret) == (b"new", b"old")
    assert after.previous_until == NOW + timedelta(hours=24)


def test_without_an_overlap_the_secret_before_is_gone() -> None:
    after = rules.rotated(stored(previous_secret=b"older", previous_until=NOW), b"new", 0, NOW)

    assert (after.previous_secret, after.previous_until) == (None, None)


def test_a_secret_that_is_given_has_to_be_one() -> None:
    rules.check_rotation(signing.generate_secret(), 168)
    for secret, hours in (("whsec_c2hvcnQ=", 1.0), (None, 169.0), (None, -1.0)):
        with pytest.raises(ValidationError):
            rules.check_rotation(secret, hours)


def test_only_the_revision_that_is_named_is_changed() -> None:
    rules.require(None, 7)
    rules.require(7, 7)
    with pytest.raises(PreconditionFailedError):
        rules.require(6, 7)
