from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common.contracts.api_keys import CreateKey, Grant
from quarry_common.contracts.tenancy import TENANT_SCOPES, Scope, TenantState
from quarry_common.errors import ForbiddenError, UnauthenticatedError, ValidationError
from quarry_common.ids import new_id
from quarry_tenants.domain import keys
from quarry_tenants.domain.keys import StoredKey

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SEARCH = frozenset({Scope.SEARCH})


@given(st.frozensets(st.sampled_from(Scope)), st.frozensets(st.sampled_from(Scope)))
def test_no_key_gets_more_scopes_than_its_maker_holds(
    wanted: frozenset[Scope], held: frozenset[Scope]
) -> None:
    request = CreateKey(new_id(), "key", Grant(wanted), Grant(held))

    try:
        keys.checked(request, NOW)
    except (ForbiddenError, ValidationError):
        return

    assert wanted
    assert wanted <= TENANT_SCOPES
    assert wanted <= held or Scope.PLATFORM in held


IN_A_DAY, IN_TWO = NOW + timedelta(days=1), NOW + timedelta(days=2)


@pytest.mark.parametrize(
    ("grant", "maker"),
    [
        ({}, {"collections": frozenset({"a"})}),
        ({"collections": frozenset({"a", "b"})}, {"collections": frozenset({"a"})}),
        ({}, {"networks": ("10.0.0.0/8",)}),
        ({"networks": ("10.1.0.0/16", "192.0.2.0/24")}, {"networks": ("10.0.0.0/8",)}),
        ({"networks": ("::/0",)}, {"networks": ("0.0.0.0/0",)}),
        ({"principals": frozenset({"a", "b"})}, {"principals": frozenset({"a"})}),
        ({}, {"expires_at": IN_A_DAY}),
        ({"expires_at": IN_TWO}, {"expires_at": IN_A_DAY}),
    ],
)
def test_no_key_goes_beyond_its_makers_bounds(grant: dict[str, object], maker: dict[str, object]) -> None:
    request = CreateKey(new_id(), "key", Grant(SEARCH, **grant), Grant(SEARCH, **maker))  # type: ignore[arg-type]

    with pytest.raises(ForbiddenError, match="would go beyond"):
        keys.checked(request, NOW)


@pytest.mark.parametrize(
    ("grant", "maker"),
    [
        ({"collections": frozenset({"a"})}, {"collections": frozenset({"a", "b"})}),
        ({"collections": frozenset()}, {"collections": frozenset({"a"})}),
        ({"networks": ("10.1.0.0/16",)}, {"networks": ("192.0.2.0/24", "10.0.0.0/8")}),
        ({"principals": frozenset({"a"})}, {}),
        ({"expires_at": IN_A_DAY}, {"expires_at": IN_TWO}),
    ],
)
def test_within_its_makers_bounds_a_key_may_be_made(
    grant: dict[str, object], maker: dict[str, object]
) -> None:
    request = CreateKey(new_id(), "key", Grant(SEARCH, **grant), Grant(SEARCH, **maker))  # type: ignore[arg-type]

    assert keys.checked(request, NOW) == request


def test_networks_are_kept_in_one_form() -> None:
    given_as = ("2001:DB8:0::/32", "203.0.113.7")
    request = CreateKey(new_id(), "key", Grant(SEARCH, networks=given_as), Grant(SEARCH))

    assert keys.checked(request, NOW).grant.networks == ("2001:db8::/32", "203.0.113.7/32")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (StoredKey(new_id(), Grant(SEARCH), revoked_at=NOW), "was revoked at 2026-11-01T00:00:00+00:00"),
        (StoredKey(new_id(), Grant(SEARCH, expires_at=NOW)), "expired at 2026-11-01T00:00:00+00:00"),
        *(
            (
                StoredKey(new_id(), Grant(SEARCH), tenant_slug="acme", tenant_state=state),
                "tenant acme is disabled",
            )
            for state in set(TenantState) - {TenantState.ACTIVE}
        ),
    ],
)
def test_a_key_that_is_refused_says_why(key: StoredKey, sentence: str) -> None:
    with pytest.raises(UnauthenticatedError, match=sentence.replace("+", r"\+")) as caught:
        keys.principal_of(key, NOW)

    assert caught.value.data.advice


def test_a_key_is_good_until_the_moment_it_expires() -> None:
    key = StoredKey(new_id(), Grant(SEARCH, expires_at=NOW + timedelta(microseconds=1)))

    assert keys.principal_of(key, NOW).expires_at == key.grant.expires_at


def test_every_wrong_field_is_named_at_once() -> None:
    grant = Grant(frozenset(), expires_at=NOW)
    request = CreateKey(new_id(), " ", grant, Grant(TENANT_SCOPES), metadata={"": "x"})

    with pytest.raises(ValidationError) as caught:
        keys.checked(request, NOW)

    assert [error.field for error in caught.value.data.errors] == [
        "name",
        "scopes",
        "metadata.",
        "expires_at",
    ]


def test_a_key_that_is_bound_to_collections_has_no_scope_of_the_whole_tenant() -> None:
    grant = Grant(frozenset({Scope.SEARCH, Scope.AUDIT_READ}), collections=frozenset({"a"}))

    with pytest.raises(ValidationError) as caught:
        keys.checked(CreateKey(new_id(), "key", grant, Grant(TENANT_SCOPES)), NOW)

    (error,) = caught.value.data.errors
    assert error.field == "scopes"
    assert "audit:read" in error.message
    assert "search" not in error.message
