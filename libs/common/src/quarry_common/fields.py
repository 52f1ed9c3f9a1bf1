"""What settings may hold beyond their types: addresses, certificates and logins, checked at start.

A message goes on from the name of its setting; one of the kind `missing` does not show what that holds.
"""

from collections.abc import Callable
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from quarry_common import tls
from quarry_common.cache import address as redis_address
from quarry_common.messaging import address as nats_address
from quarry_common.messaging import credentials
from quarry_common.postgres import address as postgres_address

_TLS_SCHEMES = ("tls://", "rediss://", "rediss+sentinel://", "https://")


def _checked(check: Callable[[str], object]) -> Callable[[str], str]:
    def validate(value: str) -> str:
        try:
            if value:
                check(value)
        except ValueError as error:
            raise _refused(error) from None
        return value

    return validate


def _checked_secret(check: Callable[[str], object]) -> Callable[[SecretStr], SecretStr]:
    def validate(value: SecretStr) -> SecretStr:
        _checked(check)(value.get_secret_value())
        return value

    return validate


def _refused(why: ValueError) -> PydanticCustomError:
    return PydanticCustomError("malformed", "{why}", {"why": str(why)})


def with_tls(url_setting: str, scheme: str) -> AfterValidator:
    """Return what refuses a certificate where `url_setting` asks for no TLS; `scheme` would."""

    def validate(path: str, info: ValidationInfo) -> str:
        url = info.data.get(url_setting.lower())
        if path and url is not None and not _text(url).startswith(_TLS_SCHEMES):
            raise PydanticCustomError(
                "missing",
                "needs TLS: write `{scheme}` in {setting}, or leave the file out",
                {"scheme": scheme, "setting": url_setting},
            )
        return path

    return AfterValidator(validate)


def _key(path: str, info: ValidationInfo) -> str:
    key_setting = str(info.field_name).upper()
    cert_setting = key_setting.replace("_KEY_", "_CERT_")
    cert_file = info.data.get(cert_setting.lower())
    if cert_file is None:
        return path  # that the certificate is wrong is told already
    if bool(path) != bool(cert_file):
        raise PydanticCustomError(
            "missing", "must be given together with {cert_setting}", {"cert_setting": cert_setting}
        )
    return _checked(lambda key: tls.require_pair(cert_file, key, cert_setting))(path)


def _http_address(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc:
        # What it is may hold a key.
        raise PydanticCustomError(
            "missing", "must be `http://HOST/PATH` or `https://HOST/PATH`, without a login"
        )
    return url


def _dsn(value: SecretStr, info: ValidationInfo) -> SecretStr:
    verified = bool(info.data.get("database_ca_file") or info.data.get("database_cert_file"))
    return _checked_secret(lambda dsn: postgres_address.require_usable(dsn, "DATABASE", verified=verified))(
        value
    )


def _redis_password(value: SecretStr, info: ValidationInfo) -> SecretStr:
    url = info.data.get("redis_url")
    if value.get_secret_value() and url is not None and redis_address.has_password(url.get_secret_value()):
        raise PydanticCustomError("missing", "stands beside REDIS_URL, which holds a password, too")
    return value


def _nats_password(value: SecretStr, info: ValidationInfo) -> SecretStr:
    user = info.data.get("nats_user")
    if user is not None and bool(user) != bool(value.get_secret_value()):
        raise PydanticCustomError("missing", "must be given together with NATS_USER")
    return value


def _only_login(value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
    url = info.data.get("nats_url")
    used = {
        "NATS_URL": url is not None and nats_address.parse(url.get_secret_value()).login,
        "NATS_USER": bool(_text(info.data.get("nats_user") or "")),
        "NATS_TOKEN": bool(_text(info.data.get("nats_token") or "")),
    }
    other = next((setting for setting, holds in used.items() if holds), "")
    if _text(value) and other:
        raise PydanticCustomError(
            "missing", "stands beside {other}, which holds a login, too", {"other": other}
        )
    return value


def _text(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


CertificatesFile: TypeAlias = Annotated[str, AfterValidator(_checked(tls.require_certificates))]
"""Path of certificates in PEM; empty is none."""
KeyFile: TypeAlias = Annotated[str, AfterValidator(_key)]
"""Path of the key of the certificate that the setting `*_cert_file` names, which is declared before it."""
HttpAddress: TypeAlias = Annotated[str, AfterValidator(_http_address)]
"""`http://` or `https://` and a host; empty is none."""
PostgresDsn: TypeAlias = Annotated[SecretStr, AfterValidator(_dsn)]
"""DSN of a database; `database_ca_file` and `database_cert_file` are declared before it."""
RedisAddress: TypeAlias = Annotated[SecretStr, AfterValidator(_checked_secret(redis_address.parse))]
RedisPassword: TypeAlias = Annotated[SecretStr, AfterValidator(_redis_password)]
"""For servers that `redis_url`, declared before it, names without one."""
NatsAddresses: TypeAlias = Annotated[SecretStr, AfterValidator(_checked_secret(nats_address.parse))]
NatsUser: TypeAlias = Annotated[str, AfterValidator(_only_login)]
"""One of the ways to log in; those declared before it must not be used beside it."""
NatsPassword: TypeAlias = Annotated[SecretStr, AfterValidator(_nats_password)]
NatsToken: TypeAlias = Annotated[SecretStr, AfterValidator(_only_login)]
NatsCredentialsFile: TypeAlias = Annotated[
    str, AfterValidator(_checked(credentials.read)), AfterValidator(_only_login)
]
