"""Search tokens as an application makes them."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from libs.client.tests.http_server import Server

from quarry_client import search_tokens

Quarry = Callable[..., Result]
KEY_ID = UUID(int=7)
PRIVATE = Ed25519PrivateKey.generate()
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def opened(token: str) -> dict[str, Any]:
    """Return the claims of a token whose signature is right."""
    claims: dict[str, Any] = jwt.decode(token, PRIVATE.public_key(), algorithms=["EdDSA"])
    return claims


def test_a_token_says_what_it_is_bound_to() -> None:
    token = search_tokens.make(
        PEM,
        KEY_ID,
        filter={"tags": ["public"]},
        principals=("ada",),
        collections=["a"],
        lifetime_seconds=60,
        subject="user 7",
    )

    claims = opened(token)
    issued_at, expires_at = claims.pop("iat"), claims.pop("exp")
    assert claims == {
        "filter": {"tags": ["public"]},
        "principals": ["ada"],
        "collections": ["a"],
        "sub": "user 7",
    }
    assert expires_at - issued_at == 60
    assert abs(issued_at - time.time()) < 60
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "JWT", "kid": str(KEY_ID)}


def test_what_is_not_given_is_not_said() -> None:
    assert opened(search_tokens.make(PEM.encode(), str(KEY_ID))).keys() == {"iat", "exp"}


def test_no_collection_is_not_the_same_as_all() -> None:
    assert opened(search_tokens.make(PEM, KEY_ID, collections=[]))["collections"] == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"filter": {}}, "empty filter"),
        ({"lifetime_seconds": 0}, "lifetime_seconds"),
        ({"lifetime_seconds": 86_401}, "lifetime_seconds"),
        ({"principals": ["x" * 9_000]}, "longer than 8192"),
    ],
)
def test_what_the_platform_would_refuse_is_not_made(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        search_tokens.make(PEM, KEY_ID, **wrong)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "no key",
        Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    ],
)
def test_a_key_that_cannot_sign_is_refused(pem: str | bytes) -> None:
    with pytest.raises(ValueError, match="the private key is no"):
        search_tokens.make(pem, KEY_ID)


def test_a_key_id_is_a_uuid() -> None:
    with pytest.raises(ValueError, match="UUID"):
        search_tokens.make(PEM, "key-1")


def test_the_command_prints_a_token_and_asks_nobody(quarry: Quarry, served: Server, tmp_path: Path) -> None:
    key_file = tmp_path / "key.pem"
    key_file.write_text(PEM)

    made = quarry(
        "tokens", "make", "--key", key_file, "--key-id", KEY_ID, "--filter", '{"tags": ["public"]}',
        "--principal", "ada", "--principal", "staff", "--collection", "a", "--lifetime-seconds", 60,
        "--subject", "user 7",
    )  # fmt: skip

    claims = opened(made.stdout.strip())
    assert claims["filter"] == {"tags": ["public"]}
    assert claims["principals"] == ["ada", "staff"]
    assert (claims["collections"], claims["sub"], claims["exp"] - claims["iat"]) == (["a"], "user 7", 60)
    assert served.received == []


def test_the_command_reads_the_key_from_its_input(quarry: Quarry) -> None:
    made = quarry("tokens", "make", "--key", "-", "--key-id", KEY_ID, stdin=PEM)

    assert opened(made.stdout.strip()).keys() == {"iat", "exp"}


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--filter", "{}"), 1, "empty filter"),
        (("--filter", json.dumps([1])), 2, "--filter"),
        (("--lifetime-seconds", "86401"), 2, "--lifetime-seconds"),
    ],
)
def test_the_command_says_what_is_wrong(
    quarry: Quarry, options: tuple[str, ...], code: int, told: str
) -> None:
    refused = quarry("tokens", "make", "--key", "-", "--key-id", KEY_ID, *options, stdin=PEM)

    assert refused.exit_code == code
    assert told in refused.stderr


def test_without_what_signs_the_command_says_what_to_install(
    quarry: Quarry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "quarry_client.search_tokens")
    monkeypatch.delattr("quarry_client.search_tokens")
    monkeypatch.setitem(sys.modules, "jwt", None)

    refused = quarry("tokens", "make", "--key", "-", "--key-id", KEY_ID, stdin=PEM)

    assert refused.exit_code == 1
    assert "quarry-client[tokens]" in refused.stderr
