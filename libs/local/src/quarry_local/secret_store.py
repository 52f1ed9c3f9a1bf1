"""The passwords of one machine's platform: made once, kept in `var/secrets.json` (mode 0600)."""

import base64
import secrets as random
from pathlib import Path

import msgspec

from quarry_common import keys
from quarry_common.contracts.api_keys import KeyLabel
from quarry_local.errors import LocalError
from quarry_local.layout import write_private


def _password() -> str:
    return random.token_urlsafe(24)


def _encryption_key() -> str:
    return base64.b64encode(random.token_bytes(32)).decode()


class Secrets(msgspec.Struct, frozen=True):
    """What only this machine knows."""

    postgres_password: str = msgspec.field(default_factory=_password)
    role_password: str = msgspec.field(default_factory=_password)
    redis_password: str = msgspec.field(default_factory=_password)
    nats_password: str = msgspec.field(default_factory=_password)
    event_token_key: str = msgspec.field(default_factory=lambda: random.token_urlsafe(32))
    operator_key: str = msgspec.field(default_factory=lambda: keys.generate(KeyLabel.LIVE))
    webhook_encryption_key: str = msgspec.field(default_factory=_encryption_key)


def load_secrets(path: Path) -> Secrets:
    """Return the secrets in the file; what it lacks is made and written."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Secrets) if path.exists() else Secrets()
    except (OSError, msgspec.DecodeError) as error:
        raise LocalError(
            f"{path} cannot be read: {error}.",
            advice="Restore it from a backup; without it the data folders beside it cannot be opened.",
        ) from None
    data = msgspec.json.format(msgspec.json.encode(found), indent=2)
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
    return found
