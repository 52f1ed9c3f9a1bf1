import hashlib

import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import KeyLabel
from quarry_common.errors import UnauthenticatedError


@pytest.mark.parametrize("label", list(KeyLabel))
def test_a_generated_key_parses_to_its_label_prefix_and_digest(label: KeyLabel) -> None:
    text = keys.generate(label)

    parsed = keys.parse(text)

    assert text.startswith(f"qk_{label.value}_")
    assert parsed.label is label
    assert parsed.prefix == text[:12]
    assert parsed.sha256 == keys.sha256(text) == hashlib.sha256(text.encode()).digest()


def test_two_keys_are_never_the_same() -> None:
    assert len({keys.generate(KeyLabel.LIVE) for _ in range(1000)}) == 1000


def test_any_single_changed_character_is_refused() -> None:
    text = keys.generate(KeyLabel.TEST)

    for position in range(len(text)):
        other = "A" if text[position] != "A" else "B"
        with pytest.raises(UnauthenticatedError):
            keys.parse(text[:position] + other + text[position + 1 :])


@pytest.mark.parametrize(
    "text", ["", "qk_live_", "qk_prod_" + "a" * 32 + "_000000", "\0", "ключ", "x" * 10_000]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        keys.parse(text)

    assert caught.value.data.status == 401


def test_the_label_is_covered_by_the_checksum() -> None:
    text = keys.generate(KeyLabel.TEST)

    with pytest.raises(UnauthenticatedError):
        keys.parse(text.replace("qk_test_", "qk_live_"))


def test_a_key_with_a_trailing_newline_is_refused() -> None:
    with pytest.raises(UnauthenticatedError):
        keys.parse(keys.generate(KeyLabel.LIVE) + "\n")
