"""Settings of TLS and logins: what is refused before anything connects, and that no secret is shown."""

import base64
import binascii
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from quarry_common.messaging import credentials
from quarry_common.settings import (
    NatsSettings,
    PostgresSettings,
    QdrantSettings,
    RedisSettings,
    Settings,
    SettingsError,
    TelemetrySettings,
    load,
)

SECRET = "hunter2"
KINDS: list[tuple[type[Settings], str, str]] = [
    (NatsSettings, "NATS", "tls://h:4222"),
    (RedisSettings, "REDIS", "rediss://h:6379/0"),
    (PostgresSettings, "DATABASE", "postgresql://h/d"),
]


class Files:
    """Certificates and keys in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = self.write("ca", trustme.CA().cert_pem.bytes())
        self.cert, self.key = self.pair("one")
        _, self.other_key = self.pair("two")

    def pair(self, name: str) -> tuple[str, str]:
        made = trustme.CA().issue_cert(name)
        cert = self.write(f"{name}.pem", made.cert_chain_pems[0].bytes())
        return cert, self.write(f"{name}.key", made.private_key_pem.bytes())

    def write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def refused(kind: type[Settings], **given: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(kind, {name.upper(): value for name, value in given.items()})
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "prefix", "url"), KINDS)
def test_certificates_are_taken_from_files(files: Files, kind: type[Settings], prefix: str, url: str) -> None:
    given = {f"{prefix}_URL": url, f"{prefix}_CA_FILE": files.ca}
    given |= {f"{prefix}_CERT_FILE": files.cert, f"{prefix}_KEY_FILE": files.key}

    assert getattr(load(kind, given), f"{prefix.lower()}_ca_file") == files.ca


@pytest.mark.parametrize("end", ["CA_FILE", "CERT_FILE"])
@pytest.mark.parametrize(("kind", "prefix", "url"), KINDS)
def test_a_file_that_is_no_certificate_is_named(
    files: Files, kind: type[Settings], prefix: str, url: str, end: str
) -> None:
    setting, given = f"{prefix}_{end}", {f"{prefix}_url": url}

    missing = refused(kind, **given, **{setting: "/nowhere/ca.pem"})
    assert f"{setting}: cannot be read: No such file or directory (it is '/nowhere/ca.pem')" in missing
    no_pem = refused(kind, **given, **{setting: files.write("text", b"no pem")})
    assert f"{setting}: holds no certificate in PEM" in no_pem


def test_a_file_that_may_not_be_read_is_named(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read everything

    assert "REDIS_CA_FILE: cannot be read: Permission denied" in refused(
        RedisSettings, redis_url="rediss://h", redis_ca_file=files.ca
    )


@pytest.mark.parametrize(("kind", "prefix", "url"), KINDS)
def test_a_certificate_and_its_key_belong_together(
    files: Files, kind: type[Settings], prefix: str, url: str
) -> None:
    cert, key = f"{prefix}_cert_file", f"{prefix}_key_file"
    given = {f"{prefix}_url": url}
    together = f"{prefix}_KEY_FILE: must be given together with {prefix}_CERT_FILE"

    assert together in refused(kind, **given, **{cert: files.cert})
    assert together in refused(kind, **given, **{key: files.key})
    other = refused(kind, **given, **{cert: files.cert, key: files.other_key})
    assert f"{prefix}_KEY_FILE: is not the key of the certificate in {prefix}_CERT_FILE" in other
    no_key = refused(kind, **given, **{cert: files.cert, key: files.ca})
    assert f"{prefix}_KEY_FILE: holds no private key in PEM" in no_key


def test_an_encrypted_key_is_refused_and_no_passphrase_asked_for(files: Files) -> None:
    key = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode())
    )

    assert "NATS_KEY_FILE: is encrypted" in refused(
        NatsSettings, nats_url="tls://h", nats_cert_file=files.cert, nats_key_file=files.write("key", key)
    )


@pytest.mark.parametrize(
    ("kind", "url", "setting", "scheme"),
    [
        (NatsSettings, f"nats://u:{SECRET}@h:4222", "NATS_CA_FILE", "tls://"),
        (NatsSettings, "h:4222", "NATS_CA_FILE", "tls://"),
        (RedisSettings, f"redis://:{SECRET}@h", "REDIS_CA_FILE", "rediss://"),
        (RedisSettings, f"redis+sentinel://:{SECRET}@h/main", "REDIS_CA_FILE", "rediss://"),
        (QdrantSettings, "http://h:6333", "QDRANT_CA_FILE", "https://"),
        (TelemetrySettings, "http://h:4317", "OTLP_CA_FILE", "https://"),
    ],
)
def test_a_certificate_where_no_tls_is_asked_for_is_refused(
    files: Files, kind: type[Settings], url: str, setting: str, scheme: str
) -> None:
    address = {"OTLP_CA_FILE": "OTLP_ENDPOINT"}.get(setting, setting.replace("_CA_FILE", "_URL"))

    why = refused(kind, **{address: url, setting: files.ca})

    assert f"{setting}: needs TLS: write `{scheme}` in {address}, or leave the file out" in why


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        (f"postgresql://u:{SECRET}@h/d?sslmode=require", "write verify-full"),
        (f"postgresql://u:{SECRET}@h/d?sslmode=disable", "write verify-full"),
        (f"postgresql://u:{SECRET}@h/d?sslrootcert=/ca", "has sslrootcert, which DATABASE_CA_FILE"),
        (f"postgresql://u:{SECRET}@/d?host=/run/postgresql", "a socket of this machine, which has no TLS"),
        ("postgresql://%2Frun%2Fpostgresql/d", "a socket of this machine, which has no TLS"),
    ],
)
def test_a_dsn_may_not_ask_for_less_than_the_authority_does(files: Files, dsn: str, words: str) -> None:
    why = refused(PostgresSettings, database_url=dsn, database_ca_file=files.ca)

    assert why.startswith("DATABASE_URL: ")
    assert words in why


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("sslmode=requried", "has an sslmode that is none of disable, allow, prefer, require, verify-ca"),
        ("sslmode=verify-full&sslrootcert=/nowhere", "names a file in sslrootcert that cannot be read"),
    ],
)
def test_what_a_dsn_says_of_tls_is_checked(options: str, words: str) -> None:
    assert words in refused(PostgresSettings, database_url=f"postgresql://u:{SECRET}@h/d?{options}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"http://{SECRET}",
        f"nats://u:{SECRET}@h:port",
        f"nats://u:{SECRET}@",
        "nats://h:0",
        f"nats://one,tls://u:{SECRET}@two",
    ],
)
def test_a_wrong_address_of_nats_is_refused_without_being_shown(url: str) -> None:
    assert refused(NatsSettings, nats_url=url or " , ").startswith("NATS_URL: must")


def test_the_address_of_nats_is_a_secret() -> None:
    assert SECRET not in repr(load(NatsSettings, {"NATS_URL": f"nats://u:{SECRET}@h"}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nats_user": "u"}, "NATS_PASSWORD: must be given together with NATS_USER"),
        ({"nats_password": SECRET}, "NATS_PASSWORD: must be given together with NATS_USER"),
        ({"nats_url": f"nats://u:{SECRET}@h", "nats_token": "t"}, "NATS_TOKEN: stands beside NATS_URL"),
        (
            {"nats_user": "u", "nats_password": SECRET, "nats_token": SECRET},
            "NATS_TOKEN: stands beside NATS_USER",
        ),
        ({"redis_url": f"redis://:{SECRET}@h"}, "REDIS_PASSWORD: stands beside REDIS_URL"),
        ({"redis_url": f"redis://h?password={SECRET}"}, "REDIS_PASSWORD: stands beside REDIS_URL"),
        ({"redis_url": f"redis+sentinel://:{SECRET}@h/main"}, "REDIS_PASSWORD: stands beside REDIS_URL"),
    ],
)
def test_there_is_one_login(given: dict[str, str], words: str) -> None:
    kind = RedisSettings if "redis_url" in given else NatsSettings

    assert words in refused(kind, **({"redis_password": "other"} | given))


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=False", "ssl_ca_certs=/ca"])
def test_no_option_of_redis_turns_verification_off(option: str) -> None:
    assert refused(RedisSettings, redis_url=f"rediss://:{SECRET}@h/0?{option}").startswith(
        "REDIS_URL: must not"
    )


@pytest.mark.parametrize("url", [f"ftp://{SECRET}", f"https://u:{SECRET}@h", SECRET, "https://h:0"])
def test_a_wrong_address_of_qdrant_is_refused(url: str) -> None:
    assert refused(QdrantSettings, qdrant_url=url).startswith("QDRANT_URL: must be `http://HOST/PATH`")


def creds(seed: str) -> bytes:
    return (
        b"-----BEGIN NATS USER JWT-----\nhead.body.signature\n------END NATS USER JWT------\n\n"
        b"-----BEGIN USER NKEY SEED-----\n" + seed.encode() + b"\n------END USER NKEY SEED------\n"
    )


def seed_of(raw: bytes) -> str:
    body = bytes([18 << 3 | 20 << 3 >> 5, (20 << 3 & 31) << 3]) + raw
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


def test_a_credentials_file_signs_with_its_seed(files: Files) -> None:
    key = Ed25519PrivateKey.generate()
    path = files.write("user.creds", creds(seed_of(key.private_bytes_raw())))

    found = credentials.read(path)

    assert found.jwt == "head.body.signature"
    key.public_key().verify(base64.b64decode(found.sign("challenge")), b"challenge")
    assert found.seed not in repr(found)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", SECRET.encode(), creds(SECRET), creds(seed_of(bytes(32))[:-1] + "7")]
)
def test_a_broken_credentials_file_is_refused(files: Files, content: bytes) -> None:
    why = refused(NatsSettings, nats_creds_file=files.write("user.creds", content))

    assert "NATS_CREDS_FILE: holds no user's JWT and seed" in why


def test_a_missing_credentials_file_is_refused() -> None:
    assert "NATS_CREDS_FILE: cannot be read" in refused(NatsSettings, nats_creds_file="/nowhere")
