import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import KeyLabel
from quarry_common.settings import SettingsError, load
from quarry_tenants.settings import TenantsSettings


def test_the_operators_key_is_needed() -> None:
    with pytest.raises(SettingsError, match="OPERATOR_KEY: field required"):
        load(TenantsSettings, {})


def test_an_operators_key_that_is_none_is_refused_without_being_shown() -> None:
    key = keys.generate(KeyLabel.LIVE)[:-1]

    with pytest.raises(SettingsError, match="OPERATOR_KEY: value error, must be a key") as caught:
        load(TenantsSettings, {"OPERATOR_KEY": key})

    assert key not in str(caught.value)


def test_the_operators_key_is_not_shown_by_the_settings() -> None:
    key = keys.generate(KeyLabel.LIVE)

    settings = load(TenantsSettings, {"OPERATOR_KEY": key})

    assert settings.operator_key.get_secret_value() == key
    assert key not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "wrong", "sentence"),
    [
        ("RESERVED_DOMAINS", "acme.example,no name", "RESERVED_DOMAINS: value error, 'no name' is not"),
        ("DOMAIN_NAMESERVERS", "dns.example", "DOMAIN_NAMESERVERS: value error, 'dns.example' is not"),
    ],
)
def test_a_list_with_a_wrong_entry_is_refused(variable: str, wrong: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load(TenantsSettings, {"OPERATOR_KEY": keys.generate(KeyLabel.LIVE), variable: wrong})
