"""Signatures, as receivers verify them with the public package."""

import base64
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from quarry_webhooks.signing import generate_secret, key_of, signatures

BODY = json.dumps({"type": "document.indexed", "data": {"title": "Überblick"}}, ensure_ascii=False).encode()
WEBHOOK_ID = "018f2c5e-7f6a-7000-8000-000000000001"


def signed(*secrets: str, timestamp: int | None = None, body: bytes = BODY) -> dict[str, str]:
    """Return the headers of a delivery."""
    sent_at = int(time.time()) if timestamp is None else timestamp
    return {
        "webhook-id": WEBHOOK_ID,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": signatures(secrets, WEBHOOK_ID, sent_at, body),
    }


def test_a_receiver_verifies_a_delivery() -> None:
    secret = generate_secret()

    assert Webhook(secret).verify(BODY, signed(secret)) == json.loads(BODY)


def test_a_receiver_refuses_a_changed_byte() -> None:
    secret = generate_secret()

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(BODY.replace(b"indexed", b"indexes"), signed(secret))


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_id_and_timestamp_are_signed_too(header: str) -> None:
    secret = generate_secret()
    headers = signed(secret)
    other = headers | {header: headers[header][:-1] + ("1" if headers[header][-1] != "1" else "2")}

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(BODY, other)


@pytest.mark.parametrize(("seconds", "words"), [(-600, "too old"), (600, "too new")])
def test_a_receiver_refuses_a_timestamp_that_is_not_recent(seconds: int, words: str) -> None:
    secret = generate_secret()

    with pytest.raises(WebhookVerificationError, match=words):
        Webhook(secret).verify(BODY, signed(secret, timestamp=int(time.time()) + seconds))


def test_a_receiver_refuses_what_a_foreign_secret_signed() -> None:
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(generate_secret()).verify(BODY, signed(generate_secret()))


def test_during_a_rotation_each_of_two_secrets_verifies() -> None:
    new, old, foreign = generate_secret(), generate_secret(), generate_secret()
    headers = signed(new, old)

    Webhook(new).verify(BODY, headers)
    Webhook(old).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(foreign).verify(BODY, headers)
    assert headers["webhook-signature"].count("v1,") == 2


def test_a_signature_is_as_the_standard_has_it() -> None:
    # The example of the specification.
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'

    made = signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_long_and_each_is_another() -> None:
    made = {generate_secret() for _ in range(100)}

    assert len(made) == 100
    assert {len(key_of(secret)) for secret in made} == {32}


@pytest.mark.parametrize("size", [24, 64])
def test_a_secret_has_24_to_64_bytes(size: int) -> None:
    assert len(key_of("whsec_" + base64.b64encode(b"k" * size).decode())) == size


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "24 to 64 bytes"),
        (base64.b64encode(b"k" * 32).decode(), "begins with whsec_"),
        ("WHSEC_" + base64.b64encode(b"k" * 32).decode(), "begins with whsec_"),
        ("whsec_" + "k" * 41, "base64"),
        ("whsec_" + "*" * 44, "base64"),
        ("whsec_" + "ü" * 44, "base64"),
        ("whsec_", "24 to 64 bytes"),
    ],
)
def test_another_secret_is_refused_without_being_shown(secret: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        signatures([secret], WEBHOOK_ID, 1, BODY)

    assert secret == "whsec_" or secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError, match="no secret"):
        signatures([], WEBHOOK_ID, 1, BODY)


@pytest.mark.parametrize("webhook_id", ["", "a.1"])
def test_an_id_that_could_be_read_in_two_ways_is_not_signed(webhook_id: str) -> None:
    with pytest.raises(ValueError, match="no dot"):
        signatures([generate_secret()], webhook_id, 1, BODY)
