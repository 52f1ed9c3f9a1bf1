from pathlib import Path

import pytest

from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import SettingsError, load

REMOTE = {"EMBEDDER": "openai", "EMBEDDER_URL": "https://embed.example/v1", "EMBEDDER_MODEL": "m"}


def test_models_are_kept_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load(EmbedderSettings, {}).model_cache_dir == tmp_path / "quarry"


def test_an_unknown_embedder_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="EMBEDDER"):
        load(EmbedderSettings, {"EMBEDDER": "word2vec"})


def test_the_local_embedder_needs_nothing() -> None:
    assert load(EmbedderSettings, {}).embedder == "local"


@pytest.mark.parametrize("name", ["EMBEDDER_URL", "EMBEDDER_MODEL"])
def test_a_remote_embedder_needs_an_address_and_a_model(name: str) -> None:
    given = {key: value for key, value in REMOTE.items() if key != name}
    with pytest.raises(SettingsError, match=f"{name}: must be given when EMBEDDER is `openai`"):
        load(EmbedderSettings, given)


def test_a_slash_at_the_end_of_the_address_means_nothing() -> None:
    settings = load(EmbedderSettings, {**REMOTE, "EMBEDDER_URL": "https://embed.example/v1/"})
    assert settings.embedder_url == "https://embed.example/v1"


@pytest.mark.parametrize(
    "url",
    ["embed.example/v1", "ftp://embed.example", "https://", "http://h:99999", "https://h/v1?key=hunter2"],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDDER_URL: must be `http://HOST/PATH`") as caught:
        load(EmbedderSettings, {**REMOTE, "EMBEDDER_URL": url})
    assert "hunter2" not in str(caught.value)


def test_a_login_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="without key") as caught:
        load(EmbedderSettings, {**REMOTE, "EMBEDDER_URL": "https://u:hunter2@embed.example/v1"})
    assert "hunter2" not in str(caught.value)


def test_a_key_is_taken_without_the_line_end_of_its_file(tmp_path: Path) -> None:
    settings = load(EmbedderSettings, {**REMOTE, "EMBEDDER_API_KEY": " sk-1\n"})
    assert settings.embedder_api_key.get_secret_value() == "sk-1"


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="EMBEDDER_API_KEY: must be printable ASCII") as caught:
        load(EmbedderSettings, {**REMOTE, "EMBEDDER_API_KEY": "hunter2\nX: y"})
    assert "hunter2" not in str(caught.value)


def test_a_budget_below_two_texts_is_refused() -> None:
    given = {**REMOTE, "EMBEDDER_MAX_TOKENS": "500", "EMBEDDER_TOKENS_PER_MINUTE": "999"}
    with pytest.raises(SettingsError, match="EMBEDDER_TOKENS_PER_MINUTE: must be 0 or at least 1000"):
        load(EmbedderSettings, given)
    load(EmbedderSettings, {**given, "EMBEDDER_TOKENS_PER_MINUTE": "1000"})
