import base64
import os
from uuid import uuid4

import pytest

from quarry_webhooks.sealing import SealedError, Sealer, parse_keys

OLD, NEW = os.urandom(32), os.urandom(32)
TENANT, ENDPOINT = uuid4(), uuid4()


def test_what_is_sealed_opens_and_does_not_show() -> None:
    sealed = Sealer([NEW]).close(TENANT, ENDPOINT, b"whsec_secret")

    assert b"secret" not in sealed
    assert Sealer([NEW]).open(TENANT, ENDPOINT, sealed) == b"whsec_secret"


def test_the_first_key_seals_and_all_open() -> None:
    sealed = Sealer([OLD]).close(TENANT, ENDPOINT, b"content")

    assert Sealer([NEW, OLD]).open(TENANT, ENDPOINT, sealed) == b"content"
    again = Sealer([NEW, OLD]).close(TENANT, ENDPOINT, b"content")
    assert Sealer([NEW]).open(TENANT, ENDPOINT, again) == b"content"


def test_it_opens_for_its_own_endpoint_only() -> None:
    sealed = Sealer([NEW]).close(TENANT, ENDPOINT, b"content")

    for tenant, endpoint in ((uuid4(), ENDPOINT), (TENANT, uuid4())):
        with pytest.raises(SealedError):
            Sealer([NEW]).open(tenant, endpoint, sealed)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data[:5], lambda data: b"\0" + data[1:]]
)
def test_what_was_changed_does_not_open(change) -> None:  # type: ignore[no-untyped-def]
    sealed = Sealer([NEW]).close(TENANT, ENDPOINT, b"content")

    with pytest.raises(SealedError):
        Sealer([NEW]).open(TENANT, ENDPOINT, change(sealed) if change(sealed) != sealed else b"")


def test_keys_are_32_bytes_in_base64() -> None:
    text = ", ".join(base64.b64encode(key).decode() for key in (NEW, OLD))

    assert parse_keys(text) == (NEW, OLD)
    for wrong in ("", "short", base64.b64encode(b"16 bytes of a key").decode(), f"{text},"):
        with pytest.raises(ValueError, match="each key must be"):
            parse_keys(wrong)
