"""Which URLs an endpoint may have, before any name is resolved."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn

import msgspec
from yarl import URL

from quarry_common.contracts.webhooks import MAX_URL_LENGTH
from quarry_common.errors import FieldError, ValidationError
from quarry_webhooks.egress.networks import Address, Network, forbidden

_DEFAULT_PORTS = {"https": 443, "http": 80}

OTHER_PROTOCOLS = frozenset(
    {1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104}
    | {109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514}
    | {515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723}
    | {2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
"""Ports at which a request could be taken for another protocol, such as mail: those that browsers refuse
(https://fetch.spec.whatwg.org/#port-blocking). Every other port may be used."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NEVER = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_AUTHORITY = re.compile(r"(?:\[[^\[\]]*:[^\[\]]*\]|[^\[\]:]*)(?::[0-9]*)?")


_FORM = "This is no URL of a scheme, a host and a path."


class Policy(msgspec.Struct, frozen=True):
    """What the operator lets deliveries reach beyond public addresses over https."""

    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False


class Target(msgspec.Struct, frozen=True):
    """Where a permitted URL leads."""

    scheme: str
    host: str
    """A name in its ASCII form, or an address without brackets."""
    port: int
    path: str
    """With the query, as it is sent."""
    address: Address | None
    """The host when it is one; None when it is a name that has to be resolved."""

    @property
    def authority(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class UrlNotPermittedError(ValidationError):
    """An endpoint may not have this URL."""


def permitted(url: str, policy: Policy) -> Target:
    """Return where a URL leads, if deliveries may go there as far as can be told without resolving its name.

    It is asked when an endpoint is created and again at each attempt, as the policy may have changed.
    Raises `UrlNotPermittedError` with a sentence that says what would be right.
    """
    if len(url) > MAX_URL_LENGTH:
        _refuse(f"A URL has at most {MAX_URL_LENGTH} characters.")
    if _NEVER.search(url):
        _refuse("A URL has no spaces, control characters or backslashes.")
    if "#" in url:
        _refuse("A URL of an endpoint has no fragment (`#`): it is never sent.")
    try:
        # What is ASCII is sent as it was written: a query may be part of a signature of the receiver's.
        parsed = URL(url, encoded=url.isascii())
        scheme, host, port = parsed.scheme, parsed.raw_host, parsed.explicit_port
        authority, path = parsed.raw_authority, parsed.raw_path_qs
    except ValueError:
        _refuse(_FORM)
    _check_scheme(scheme, policy)
    if "@" in authority:
        _refuse("A URL holds no user or password; send an `Authorization` header instead.")
    if not _AUTHORITY.fullmatch(authority):
        _refuse(_FORM)
    if not host:
        _refuse("The URL has no host.")
    number = _port(scheme, port)
    name = host.lower().removesuffix(".")
    address = _literal(name)
    if address is None:
        _check_name(name)
    elif kind := forbidden(address, policy.allowed_networks):
        _refuse(f"Deliveries may not go to this address ({kind}); use a public one.")
    # The path begins a line of the request; what is no ASCII in it was escaped above.
    return Target(scheme, str(address or name), number, path if path.startswith("/") else f"/{path}", address)


def _check_scheme(scheme: str, policy: Policy) -> None:
    if scheme == "https" or (scheme == "http" and policy.allow_http):
        return
    _refuse("The scheme is https, or http." if policy.allow_http else "The scheme is https.")


def _port(scheme: str, port: int | None) -> int:
    if port is None:
        return _DEFAULT_PORTS[scheme]
    if not 0 < port < 65_536:
        _refuse("A port is a number from 1 to 65535.")
    if port in OTHER_PROTOCOLS:
        _refuse(f"Port {port} belongs to another protocol than HTTP.")
    return port


def _literal(host: str) -> Address | None:
    """Return the address that the host is; None when it is a name."""
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            _refuse("The host is not an IPv6 address.")
        if address.scope_id is not None:
            _refuse("An IPv6 address in a URL has no zone.")
        return address
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    # The system would take 127.1, 0x7f000001 and 2130706433 for addresses, too.
    try:
        return IPv4Address(host)
    except ValueError:
        _refuse("An IPv4 address is written as four decimal numbers without leading zeros.")


def _check_name(name: str) -> None:
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        _refuse("The host is not a name of the DNS.")


def _refuse(sentence: str) -> NoReturn:
    raise UrlNotPermittedError(sentence, errors=[FieldError("url", sentence)])
