"""A NATS operator with one account and one user, as `nsc` would make them: keys, JWTs, a credentials file."""

import base64
import binascii
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED, OPERATOR, ACCOUNT, USER = 18 << 3, 14 << 3, 0, 20 << 3
UNLIMITED = {"subs": -1, "data": -1, "payload": -1}


class Key:
    """An nkey: https://github.com/nats-io/nkeys tells the form."""

    def __init__(self, kind: int) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = _text(
            bytes([kind]), self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )
        self.seed = _text(bytes([SEED | kind >> 5, (kind & 31) << 3]), self._private.private_bytes_raw())

    def sign(self, subject: "Key", kind: str, **claims: object) -> str:
        """Return the JWT in which this key vouches for another."""
        body = {
            "jti": subject.public,
            "iat": int(time.time()),
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        signed = f"{_url(json.dumps({'typ': 'JWT', 'alg': 'ed25519-nkey'}))}.{_url(json.dumps(body))}"
        return f"{signed}.{_url(self._private.sign(signed.encode()))}"


class Operator:
    """What its servers are configured with, and what its user logs in with."""

    def __init__(self) -> None:
        self._key, self._account, self._system = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT)

    def configuration(self) -> str:
        """Return what lets the operator's accounts into a server."""
        limits = {**UNLIMITED, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
        accounts = "\n".join(
            f"{account.public}: {self._key.sign(account, 'account', limits=limits)}"
            for account in (self._account, self._system)
        )
        return (
            f"operator: {self._key.sign(self._key, 'operator')}\nsystem_account: {self._system.public}\n"
            f"resolver: MEMORY\nresolver_preload: {{\n{accounts}\n}}"
        )

    def credentials(self) -> str:
        """Return the credentials file of a new user."""
        user = Key(USER)
        jwt = self._account.sign(user, "user", pub={}, sub={}, **UNLIMITED)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


def _text(prefix: bytes, raw: bytes) -> str:
    body = prefix + raw
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


def _url(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
