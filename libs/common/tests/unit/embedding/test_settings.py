from pathlib import Path

import pytest

from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import SettingsError, load


def test_models_are_kept_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load(EmbedderSettings, {}).model_cache_dir == tmp_path / "quarry"


def test_an_embedder_that_does_not_exist_yet_is_refused_in_a_sentence() -> None:
    with pytest.raises(SettingsError, match="EMBEDDER: 'openai' is not available"):
        load_embedder(load(EmbedderSettings, {"EMBEDDER": "openai"}))


def test_an_unknown_embedder_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="EMBEDDER"):
        load(EmbedderSettings, {"EMBEDDER": "word2vec"})
