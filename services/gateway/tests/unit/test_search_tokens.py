"""Search tokens: what is let in, what is refused, and that nothing widens what they force."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_client.search_tokens import make
from quarry_common.contracts.filters import AnyOf, Field
from quarry_common.contracts.signing_keys import TokenIssuer
from quarry_common.contracts.tenancy import PLAN_QUOTAS, Plan
from quarry_common.errors import UnauthenticatedError
from quarry_common.ids import new_id
from quarry_gateway.access import search_tokens
from quarry_gateway.access.search_tokens import SearchToken, SearchTokens, key_id_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
IAT = int(NOW.timestamp())
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"q" * 32)


def text_of(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()


ISSUER = TokenIssuer(new_id(), new_id(), "acme", text_of(PRIVATE), PLAN_QUOTAS[Plan.STARTER])
HEADER = {"alg": "EdDSA", "typ": "JWT", "kid": str(ISSUER.signing_key_id)}
CLAIMS = {"iat": IAT, "exp": IAT + 3600}


def part(members: object) -> str:
    raw = members if isinstance(members, bytes) else json.dumps(members).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, payload: object, key: Ed25519PrivateKey = PRIVATE) -> str:
    """Return a token of just these parts, however wrong they are, with a right signature."""
    content = f"{part(header)}.{part(payload)}"
    return f"{content}.{part(key.sign(content.encode()))}"


def token(key: Ed25519PrivateKey = PRIVATE, **claims: object) -> str:
    return signed(HEADER, CLAIMS | claims, key)


def verify(text: str, issuer: TokenIssuer = ISSUER, now: datetime = NOW) -> SearchToken:
    return SearchTokens().verify(text, issuer, now)


def refusal(text: str, issuer: TokenIssuer = ISSUER, now: datetime = NOW) -> str:
    """Return why a token is refused: by itself, and the same when the issuer is looked up first."""
    with pytest.raises(UnauthenticatedError) as caught:
        verify(text, issuer, now)
    error = caught.value.data
    assert error.status == 401
    # Nothing of the token is told, neither of its text nor of what stands in it.
    for piece in re.split(r"[^\w-]+", text):
        assert len(piece) < 20 or piece not in str(error)
    assert "SECRET" not in str(error)
    return error.detail


def test_a_token_is_bound_to_what_it_says() -> None:
    found = verify(
        token(filter={"tags": ["public"]}, principals=["ada", "staff"], collections=["a", "b"], sub="user 7")
    )

    assert found == SearchToken(
        signing_key_id=ISSUER.signing_key_id,
        filter=AnyOf(Field.TAGS, ("public",)),
        principals=frozenset({"ada", "staff"}),
        collections=frozenset({"a", "b"}),
        expires_at=NOW + timedelta(hours=1),
        subject="user 7",
    )


def test_what_it_does_not_say_is_not_forced() -> None:
    found = verify(token())

    assert (found.filter, found.principals, found.collections, found.subject) == (
        None,
        frozenset(),
        None,
        None,
    )


def test_a_token_of_a_common_library_is_let_in() -> None:
    made = jwt.encode(
        CLAIMS | {"nbf": IAT, "iss": "shop", "aud": ["quarry"], "jti": "1"},
        PRIVATE,
        algorithm="EdDSA",
        headers={"kid": str(ISSUER.signing_key_id)},
    )

    assert verify(made).signing_key_id == key_id_of(made) == ISSUER.signing_key_id


def test_a_token_of_the_client_is_let_in() -> None:
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = make(pem, ISSUER.signing_key_id, filter={"tags": ["public"]}, principals=["ada"], subject="user 7")

    found = verify(made, now=datetime.now(UTC))

    assert found.filter == AnyOf(Field.TAGS, ("public",))
    assert (found.principals, found.subject) == ({"ada"}, "user 7")


@pytest.mark.parametrize(
    ("own", "of_key", "together"),
    [
        (["a", "b"], None, {"a", "b"}),
        (None, {"b", "c"}, {"b", "c"}),
        (["a", "b"], {"b", "c"}, {"b"}),
        (["a"], {"c"}, set()),
        ([], None, set()),
        ([], {"c"}, set()),
    ],
)
def test_collections_are_those_of_the_token_and_of_its_key(
    own: list[str] | None, of_key: set[str] | None, together: set[str]
) -> None:
    issuer = msgspec.structs.replace(ISSUER, collections=None if of_key is None else frozenset(of_key))
    claims = {} if own is None else {"collections": own}

    assert verify(token(**claims), issuer).collections == together


# Attacks on the signature


def hmac_token(secret: bytes, algorithm: str = "HS256", header: dict[str, object] | None = None) -> str:
    content = f"{part(HEADER | {'alg': algorithm} | (header or {}))}.{part(CLAIMS)}"
    return f"{content}.{part(hmac.digest(secret, content.encode(), 'sha256'))}"


PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
SECRETS = [PEM, PEM.strip(), PRIVATE.public_key().public_bytes_raw(), ISSUER.public_key.encode(), b""]


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, ["EdDSA"], {"EdDSA": 1}])
def test_a_token_without_a_signature_is_refused(algorithm: object) -> None:
    header = HEADER | {"alg": algorithm}

    for signature in ("", part(b"\0" * 64), part(PRIVATE.sign(b"else"))):
        refusal(f"{part(header)}.{part(CLAIMS)}.{signature}")
    assert "`alg`" in refusal(signed(header, CLAIMS))


@pytest.mark.parametrize("secret", SECRETS)
def test_the_public_key_is_no_secret_to_sign_with(secret: bytes) -> None:
    refusal(hmac_token(secret))
    # The same, padded to the length of a signature, and under the name of the right algorithm.
    content = f"{part(HEADER)}.{part(CLAIMS)}"
    mac = hmac.digest(secret, content.encode(), hashlib.sha512)
    assert "signature" in refusal(f"{content}.{part(mac)}")


@pytest.mark.parametrize(
    "algorithm", ["HS256", "HS512", "RS256", "PS256", "ES256", "ES256K", "Ed25519", "Ed448", "EDDSA", "eddsa"]
)
def test_every_other_algorithm_is_refused_however_well_it_is_signed(algorithm: str) -> None:
    assert "`alg`" in refusal(signed(HEADER | {"alg": algorithm}, CLAIMS))


def test_tokens_that_other_kinds_of_keys_have_signed_are_refused() -> None:
    kid = {"kid": str(ISSUER.signing_key_id)}

    refusal(jwt.encode(CLAIMS, Ed448PrivateKey.generate(), algorithm="EdDSA", headers=kid))
    refusal(jwt.encode(CLAIMS, generate_private_key(SECP256R1()), algorithm="ES256", headers=kid))
    refusal(jwt.encode(CLAIMS, "s" * 64, algorithm="HS512", headers=kid))


def test_another_keys_signature_is_refused() -> None:
    assert "signature" in refusal(token(OTHER))


@pytest.mark.parametrize(
    "more",
    [
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": text_of(OTHER)}},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/chain"},
        {"x5c": ["SECRET"]},
        {"x5t": "SECRET"},
        {"crit": ["exp"]},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
    ],
)
def test_a_token_that_brings_its_own_key_or_way_of_reading_is_refused(more: dict[str, object]) -> None:
    for key in (PRIVATE, OTHER):
        assert "nothing else" in refusal(signed(HEADER | more, CLAIMS, key))


@pytest.mark.parametrize("kind", ["at+jwt", "JOSE", "", None, 1])
def test_a_token_of_another_type_is_refused(kind: object) -> None:
    assert "`typ`" in refusal(signed(HEADER | {"typ": kind}, CLAIMS))


@pytest.mark.parametrize(
    "kid",
    [None, 1, "", "key-1", "../../dev/null", "' OR 1=1", str(new_id()) + "\n", f"{{{new_id()}}}",
     new_id().hex, [str(ISSUER.signing_key_id)]],
)  # fmt: skip
def test_a_kid_that_is_no_id_is_refused(kid: object) -> None:
    assert "`kid`" in refusal(signed(HEADER | {"kid": kid}, CLAIMS))


def test_a_token_without_kid_is_refused() -> None:
    assert "`kid`" in refusal(signed({"alg": "EdDSA"}, CLAIMS))


def test_a_token_of_one_tenant_under_the_kid_of_anothers_key_is_refused() -> None:
    other = msgspec.structs.replace(ISSUER, signing_key_id=new_id(), public_key=text_of(OTHER))
    forged = signed(HEADER | {"kid": str(other.signing_key_id)}, CLAIMS, PRIVATE)

    assert key_id_of(forged) == other.signing_key_id
    assert "signature" in refusal(forged, other)


def test_a_kid_that_is_not_that_of_the_issuer_is_refused_even_with_the_same_key() -> None:
    # Two tenants may have registered one public key.
    other = msgspec.structs.replace(ISSUER, signing_key_id=new_id())
    tokens = SearchTokens()
    tokens.verify(token(), ISSUER, NOW)

    with pytest.raises(UnauthenticatedError, match="another signing key"):
        tokens.verify(token(), other, NOW)


def test_parts_of_two_tokens_make_none() -> None:
    narrow, wide = token(filter={"tags": ["public"]}).split("."), token().split(".")

    for mixed in ([wide[0], wide[1], narrow[2]], [narrow[0], part(CLAIMS | {"exp": IAT + 9}), narrow[2]]):
        assert "signature" in refusal(".".join(mixed))


def test_every_changed_bit_of_a_token_is_noticed() -> None:
    whole = token(sub="ada")
    for place in range(0, len(whole) - 1, 7):
        changed = "A" if whole[place] != "A" else "B"
        refusal(whole[:place] + changed + whole[place + 1 :])


# Attacks on the form


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "...", "a.b", "a.b.c", "qk_live_x", "Bearer x", "null", "{}", "\0", "é.é.é",
        "A" * 100_000, "." * 8_192, f"..{'A' * 86}", f"e30..{'A' * 86}", f"e30.e30.{'A' * 86}",
        f" {token()}", f"{token()} ", f"{token()}\n", f"{token()}.", f"{token()}.x",
        token().replace(".", ".."), token() + "=", token()[:-1], token() + "A",
        json.dumps({"protected": part(HEADER), "payload": part(CLAIMS), "signature": "SECRET"}),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(text: str) -> None:
    refusal(text)
    with pytest.raises(UnauthenticatedError):
        SearchTokens().key_id_of(text)


BAD_JSON: list[bytes] = [
    b"", b"{", b"[]", b"null", b"1", b'"text"', b"{}{}", b"{} ", b"\xff\xfe{}", b'{"iat": NaN}',
    b'{"iat": Infinity}', b'{"iat": 1e999}', b"{'iat': 1}", b'{"sub": "\\ud800"}', b'{"sub": "\xc3("}',
    b"[" * 4_000, b'{"filter":' * 600, b'{"a":' * 500 + b"1" + b"}" * 500, b'{"iat": ' + b"9" * 5_000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("raw", BAD_JSON, ids=range(len(BAD_JSON)))
def test_garbage_is_refused_with_a_right_signature_too(raw: bytes) -> None:
    refusal(signed(raw, CLAIMS))
    refusal(signed(HEADER, raw))


@pytest.mark.parametrize(
    "pairs",
    [
        '"filter": {"tags": "public"}, "filter": {"tags": "SECRET"}',
        '"exp": 1, "exp": 99999999999',
        '"sub": "a", "s\\u0075b": "b"',
        '"filter": {"tags": "public", "tags": "SECRET"}',
        '"filter": {"or": [{"tags": "public", "tags": "SECRET"}]}',
    ],
)
def test_a_claim_that_is_there_twice_is_refused(pairs: str) -> None:
    raw = f'{{"iat": {IAT}, "exp": {IAT + 60}, {pairs}}}'.encode()

    assert "once" in refusal(signed(HEADER, raw))


def test_a_header_that_is_there_twice_is_refused() -> None:
    raw = f'{{"alg": "none", "alg": "EdDSA", "kid": "{ISSUER.signing_key_id}"}}'.encode()

    assert "once" in refusal(signed(raw, CLAIMS))


def test_a_token_may_be_large_but_not_huge() -> None:
    room = 8_192 - len(token(jti=""))
    fits = token(jti="x" * (room * 3 // 4 - 2))
    assert 8_150 < len(fits) <= 8_192
    verify(fits)

    assert "8192" in refusal(token(jti="x" * room))


# Times


def test_a_token_is_good_until_the_moment_it_expires() -> None:
    verify(token(), now=NOW + timedelta(seconds=3599.9))

    assert "expired" in refusal(token(), now=NOW + timedelta(seconds=3600))


def test_a_token_lives_for_a_day_at_most() -> None:
    verify(token(exp=IAT + 86_400))

    for too_late in (IAT + 86_401, 10**15, 1e300, 10**30):
        assert "longer than 86400" in refusal(token(exp=too_late))


def test_the_clock_of_who_makes_tokens_may_be_a_minute_ahead() -> None:
    verify(token(iat=IAT + 60))

    for later in (IAT + 61, 10**15, 1e300):
        assert "in the future" in refusal(token(iat=later))


def test_a_token_is_not_good_before_its_time() -> None:
    verify(token(nbf=IAT))

    assert "not valid yet" in refusal(token(nbf=IAT + 120))
    verify(token(nbf=IAT + 120), now=NOW + timedelta(seconds=120))


def test_tokens_issued_before_a_revocation_are_refused() -> None:
    issuer = msgspec.structs.replace(ISSUER, revoke_before=NOW)

    assert "revoked" in refusal(token(iat=IAT - 1), issuer)
    verify(token(), issuer)


@pytest.mark.parametrize("claim", ["iat", "exp"])
def test_a_token_says_when_it_was_issued_and_when_it_ends(claim: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != claim}

    assert f"lacks `{claim}`" in refusal(signed(HEADER, claims))


# Claims


@pytest.mark.parametrize(
    "name", ["filters", "Filter", "principal", "collection", "scope", "tenant", "SECRET"]
)
def test_a_claim_that_is_not_known_is_refused(name: str) -> None:
    assert "not known" in refusal(token(**{name: {"tags": ["SECRET"]}}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        *((name, value) for name in ("iat", "exp", "nbf") for value in ("1", None, True, [1], {})),
        *(("filter", value) for value in (None, [], "SECRET", 1, True, {})),
        *(("filter", value) for value in ({"SECRET": 1}, {"tags": []}, {"or": []}, {"not": None})),
        *(("filter", value) for value in ({"created_at": "SECRET"}, {"metadata": {"a": None}})),
        *(("principals", value) for value in (None, "ada", [1], [""], ["x" * 201], ["x"] * 101, {"ada": 1})),
        *(("collections", value) for value in (None, "a", [1], [""], [None])),
        *(("sub", value) for value in (None, 1, "", "x" * 201)),
        *(("iss", value) for value in (None, 1)),
        *(("aud", value) for value in (None, 1, [1])),
        *(("jti", value) for value in (None, 1)),
        *((name, "a\0b") for name in ("sub", "jti")),
        ("filter", {"tags": ["a\0b"]}),
        ("principals", ["a\0b"]),
    ],
)  # fmt: skip
def test_a_claim_of_another_kind_is_refused(claim: str, value: object) -> None:
    detail = refusal(token(**{claim: value}))

    assert f"`{claim}`" in detail or "U+0000" in detail


def test_a_filter_that_is_too_deep_or_too_large_is_refused() -> None:
    deep: dict[str, Any] = {"tags": "a"}
    for _ in range(8):
        deep = {"not": deep}

    assert "`filter` is not valid" in refusal(token(filter=deep))
    assert "`filter` is not valid" in refusal(token(filter={"or": [{"tags": "a"}] * 201}))


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=200), place=st.integers(0, 2))
def test_whatever_comes_is_refused_with_a_reason(raw: bytes, place: int) -> None:
    texts = [signed(raw, CLAIMS), signed(HEADER, raw), f"{part(HEADER)}.{part(CLAIMS)}.{part(raw)}"]

    refusal(texts[place])


# The cache


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return how many signatures were verified."""
    count = 0
    original = search_tokens._jws.decode_complete

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(search_tokens._jws, "decode_complete", counted)
    return lambda: count


def test_a_signature_is_verified_once(checked: Callable[[], int]) -> None:
    tokens, text = SearchTokens(), token(filter={"tags": ["public"]}, collections=["a"])

    found = [tokens.verify(text, ISSUER, NOW + timedelta(seconds=n)) for n in range(5)]

    assert checked() == 1
    assert len(set(map(repr, found))) == 1
    assert tokens.key_id_of(text) == ISSUER.signing_key_id


def test_a_remembered_token_expires_and_is_revoked_like_any_other() -> None:
    tokens, text = SearchTokens(), token()
    tokens.verify(text, ISSUER, NOW)

    with pytest.raises(UnauthenticatedError, match="expired"):
        tokens.verify(text, ISSUER, NOW + timedelta(hours=1))
    revoking = msgspec.structs.replace(ISSUER, revoke_before=NOW + timedelta(seconds=1))
    with pytest.raises(UnauthenticatedError, match="revoked"):
        tokens.verify(text, revoking, NOW)


def test_a_remembered_token_follows_the_collections_of_its_key() -> None:
    tokens, text = SearchTokens(), token(collections=["a", "b"])
    tokens.verify(text, ISSUER, NOW)

    narrower = msgspec.structs.replace(ISSUER, collections=frozenset({"b"}))

    assert tokens.verify(text, narrower, NOW).collections == {"b"}


def test_a_remembered_token_is_verified_anew_when_its_key_is_another(checked: Callable[[], int]) -> None:
    tokens, text = SearchTokens(), token()
    tokens.verify(text, ISSUER, NOW)

    with pytest.raises(UnauthenticatedError, match="signature"):
        tokens.verify(text, msgspec.structs.replace(ISSUER, public_key=text_of(OTHER)), NOW)
    assert checked() == 2


def test_what_is_refused_is_not_remembered() -> None:
    tokens = SearchTokens(max_items=1)
    tokens.verify(token(), ISSUER, NOW)

    for forged in (token(OTHER), token(iat=IAT - 90_000, exp=IAT - 1)):
        with pytest.raises(UnauthenticatedError):
            tokens.verify(forged, ISSUER, NOW)

    assert len(tokens._opened) == 1
    tokens.verify(token(), ISSUER, NOW)


def test_what_is_remembered_is_bounded_in_number_and_size() -> None:
    few, small = SearchTokens(max_items=3), SearchTokens(max_bytes=1_000)
    for n in range(20):
        few.verify(token(sub=str(n + 1)), ISSUER, NOW)
        small.verify(token(sub=str(n + 1)), ISSUER, NOW)

    assert len(few._opened) == 3
    assert small._opened.size_bytes <= 1_000
