from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common.contracts.tenancy import TENANT_SCOPES, CreateKey, Scope
from quarry_common.errors import ForbiddenError, UnauthenticatedError, ValidationError
from quarry_common.ids import new_id
from quarry_tenants import domain
from quarry_tenants.domain import StoredKey

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@given(st.frozensets(st.sampled_from(Scope)), st.frozensets(st.sampled_from(Scope)))
def test_no_key_gets_more_than_its_maker_holds(wanted: frozenset[Scope], held: frozenset[Scope]) -> None:
    request = CreateKey(new_id(), "key", wanted, granted_by=held)

    try:
        domain.check_key(request, NOW)
    except (ForbiddenError, ValidationError):
        return

    assert wanted
    assert wanted <= TENANT_SCOPES
    assert wanted <= held or Scope.PLATFORM in held


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"revoked_at": NOW}, "was revoked at 2026-11-01T00:00:00+00:00"),
        ({"expires_at": NOW}, "expired at 2026-11-01T00:00:00+00:00"),
        ({"tenant_disabled": True}, "tenant acme is disabled"),
    ],
)
def test_a_key_that_is_refused_says_why(change: dict[str, object], sentence: str) -> None:
    key = StoredKey(new_id(), TENANT_SCOPES, new_id(), "acme", **change)  # type: ignore[arg-type]

    with pytest.raises(UnauthenticatedError, match=sentence.replace("+", r"\+")) as caught:
        domain.principal_of(key, NOW)

    assert caught.value.data.advice


def test_a_key_is_good_until_the_moment_it_expires() -> None:
    key = StoredKey(new_id(), TENANT_SCOPES, new_id(), "acme", expires_at=NOW + timedelta(microseconds=1))

    assert domain.principal_of(key, NOW).expires_at == key.expires_at


def test_every_wrong_field_is_named_at_once() -> None:
    request = CreateKey(new_id(), " ", frozenset(), TENANT_SCOPES, metadata={"": "x"}, expires_at=NOW)

    with pytest.raises(ValidationError) as caught:
        domain.check_key(request, NOW)

    assert [error.field for error in caught.value.data.errors] == [
        "name",
        "scopes",
        "metadata.",
        "expires_at",
    ]
