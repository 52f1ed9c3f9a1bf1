"""Why there was no response, as an outcome and a sentence.

The sentences are written here and never taken from an error: those name addresses.
"""

import ssl

import aiohttp
import msgspec

from quarry_common.contracts.webhooks import Outcome
from quarry_webhooks.egress.resolving import ForbiddenAddressError, UnresolvedError
from quarry_webhooks.egress.urls import UrlNotPermittedError

NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Nothing was sent."""
EXPECTED = (
    UrlNotPermittedError,
    ForbiddenAddressError,
    UnresolvedError,
    aiohttp.ClientError,
    OSError,  # with TimeoutError
)

_OF_ANOTHER_HOST = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class Limits(msgspec.Struct, frozen=True):
    """For how long an attempt may take."""

    connect_seconds: float = 5.0
    """To resolve the name, and again to connect with TLS, to all addresses that are tried together."""
    total_seconds: float = 15.0
    """For everything, to the end of the body."""
    body_seconds: float = 5.0
    """For the body of the response: by then its status is known, and that decides."""


class Fault(msgspec.Struct, frozen=True):
    """How an attempt failed before it had a response, or while one was read."""

    outcome: Outcome
    detail: str


def fault_of(error: Exception, limits: Limits) -> Fault:
    """Return what an error of an attempt means."""
    match error:
        case UrlNotPermittedError() | ForbiddenAddressError():
            return Fault(Outcome.FORBIDDEN_ADDRESS, str(error))
        case UnresolvedError():
            return Fault(Outcome.UNRESOLVED, str(error))
        case TimeoutError():
            return Fault(Outcome.TIMEOUT, _late_sentence(error, limits))
        case aiohttp.ClientSSLError():
            return Fault(Outcome.TLS_FAILED, _tls_sentence(error))
    for kind, sentence in _BROKEN:
        if isinstance(error, kind):
            return Fault(Outcome.CONNECTION_FAILED, sentence)
    return Fault(Outcome.CONNECTION_FAILED, "The exchange failed for a reason that is not known.")


def _late_sentence(error: TimeoutError, limits: Limits) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"There was no connection within {limits.connect_seconds:g} s."
    return f"There was no response within {limits.total_seconds:g} s."


def _tls_sentence(error: aiohttp.ClientSSLError) -> str:
    found = error.os_error
    if not isinstance(found, ssl.SSLCertVerificationError):
        return "The receiver does not speak TLS 1.2 or later at this port."
    if found.verify_code in _OF_ANOTHER_HOST:
        return "The receiver has a certificate for another host."
    return f"The receiver has a certificate that is not trusted: {found.verify_message.rstrip('.')}."


_BROKEN: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorError, "The receiver could not be connected to."),
    (aiohttp.ClientResponseError, "The response is not valid HTTP, or its headers are too long."),
    (OSError, "The receiver closed the connection without a response."),
    (aiohttp.ClientConnectionError, "The receiver closed the connection without a response."),
    (ValueError, "A header of the endpoint cannot be sent."),
)
