from quarry_common.embedding.onnx import load_local_embedder
from quarry_common.embedding.protocol import Embedder
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import SettingsError


def load_embedder(settings: EmbedderSettings) -> Embedder:
    """Return the embedder that the settings name. Raises `SettingsError` when it does not exist."""
    if settings.embedder == "local":
        return load_local_embedder(settings)
    raise SettingsError(
        f"EMBEDDER: {settings.embedder!r} is not available in this version; it may be 'local'"
    )
