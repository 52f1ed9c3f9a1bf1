"""What a signing key may be, and which of its tokens are refused."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from quarry_common.contracts.api_keys import Grant
from quarry_common.contracts.signing_keys import CreateSigningKey, RevokeTokens, SigningKey
from quarry_common.contracts.tenancy import PLAN_QUOTAS, TENANT_SCOPES, Plan, Scope, TenantState
from quarry_common.errors import ConflictError, ForbiddenError, UnauthenticatedError, ValidationError
from quarry_common.ids import new_id
from quarry_tenants.domain import signing_keys as rules
from quarry_tenants.domain.signing_keys import StoredSigningKey

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADMIN = Grant(TENANT_SCOPES)
KEY = SigningKey(new_id(), "shop", "", NOW - timedelta(days=9))
STORED = StoredSigningKey(
    new_id(), new_id(), "acme", TenantState.ACTIVE, b"k" * 32, PLAN_QUOTAS[Plan.STARTER]
)


def revoke(key: SigningKey, before: datetime | None) -> SigningKey:
    return rules.revoked(key, RevokeTokens(new_id(), key.id, before), NOW)


def test_a_new_pair_signs_and_verifies() -> None:
    public, pem = rules.new_pair()
    private = load_pem_private_key(pem.encode(), None)

    assert isinstance(private, Ed25519PrivateKey)
    Ed25519PublicKey.from_public_bytes(public).verify(private.sign(b"text"), b"text")


def test_a_public_key_is_read_as_it_is_told() -> None:
    public, _ = rules.new_pair()

    assert rules.public_key_of(rules.text_of(public)) == public
    assert len(rules.text_of(public)) == 43


@pytest.mark.parametrize(
    "text",
    [
        "", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "B", "A" * 42 + "+", "A" * 42 + "\n", "é" * 43,
        base64.urlsafe_b64encode(b"k" * 32).decode(), (b"k" * 32).hex(),
    ],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rules.public_key_of(text)

    assert [error.field for error in caught.value.data.errors] == ["public_key"]


@pytest.mark.parametrize(
    ("collections", "maker"),
    [
        (None, Grant(frozenset({Scope.TENANT_WRITE}))),
        (None, Grant(TENANT_SCOPES, collections=frozenset({"a"}))),
        (frozenset({"a", "b"}), Grant(TENANT_SCOPES, collections=frozenset({"a"}))),
        (None, Grant(TENANT_SCOPES, principals=frozenset({"ada"}))),
        (None, Grant(TENANT_SCOPES, networks=("10.0.0.0/8",))),
        (None, Grant(TENANT_SCOPES, expires_at=NOW)),
    ],
)
def test_tokens_could_do_no_more_than_the_key_that_makes_their_key(
    collections: frozenset[str] | None, maker: Grant
) -> None:
    with pytest.raises(ForbiddenError):
        rules.check_new(CreateSigningKey(new_id(), "shop", maker, collections=collections))


@pytest.mark.parametrize(
    ("collections", "maker"),
    [
        (None, ADMIN),
        (frozenset({"a"}), Grant(TENANT_SCOPES, collections=frozenset({"a", "b"}))),
        (None, Grant(frozenset({Scope.PLATFORM}))),
    ],
)
def test_within_its_makers_bounds_a_signing_key_may_be_made(
    collections: frozenset[str] | None, maker: Grant
) -> None:
    rules.check_new(CreateSigningKey(new_id(), "shop", maker, collections=collections))


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        rules.check_new(CreateSigningKey(new_id(), " ", ADMIN, collections=frozenset({""})))

    assert [error.field for error in caught.value.data.errors] == ["name", "collections"]


def test_tokens_are_refused_up_to_a_moment() -> None:
    assert revoke(KEY, NOW - timedelta(hours=1)).revoke_before == NOW - timedelta(hours=1)


def test_an_earlier_moment_brings_no_tokens_back() -> None:
    once = revoke(KEY, NOW - timedelta(hours=1))

    assert revoke(once, NOW - timedelta(hours=2)) == once
    assert revoke(once, NOW).revoke_before == NOW


def test_a_moment_to_come_is_refused() -> None:
    for wrong in (NOW + timedelta(microseconds=1), NOW.replace(tzinfo=None)):
        with pytest.raises(ValidationError) as caught:
            revoke(KEY, wrong)
        assert [error.field for error in caught.value.data.errors] == ["before"]


def test_a_moment_at_the_beginning_of_the_calendar_is_one_before_all_tokens() -> None:
    earliest = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))

    assert revoke(KEY, earliest).revoke_before == datetime(1970, 1, 1, tzinfo=UTC)


def test_without_a_moment_the_key_is_revoked_for_ever() -> None:
    gone = revoke(KEY, None)

    assert gone.revoked_at == NOW
    assert revoke(gone, None) == revoke(gone, NOW) == gone


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (None, "is not known here"),
        (msgspec.structs.replace(STORED, revoked_at=NOW), "was revoked at 2026-11-01T00:00:00"),
        *(
            (msgspec.structs.replace(STORED, tenant_state=state), "acme is disabled")
            for state in set(TenantState) - {TenantState.ACTIVE}
        ),
    ],
)
def test_a_key_whose_tokens_are_refused_says_why(key: StoredSigningKey | None, sentence: str) -> None:
    with pytest.raises(UnauthenticatedError, match=sentence):
        rules.issuer_of(key)


def test_a_tenant_has_so_many_live_keys_and_no_more() -> None:
    rules.check_room(19)
    with pytest.raises(ConflictError, match="20 signing keys"):
        rules.check_room(20)
