"""What both clients send and where, by httpx."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from quarry_client.calls import Call, FileUpload
from quarry_client.errors import ClientError

T = TypeVar("T")


@contextmanager
def built(
    http: httpx.Client | httpx.AsyncClient, call: Call[T], timeout_seconds: float
) -> Iterator[httpx.Request]:
    """The request of one attempt; a file to upload is open as long as the request is being sent."""
    timeout = httpx.Timeout(timeout_seconds, read=timeout_seconds + call.extra_seconds, connect=5.0)
    if isinstance(call.body, FileUpload):
        with call.body.path.open("rb") as file:
            yield http.build_request(
                call.method,
                call.path,
                params=call.params,
                headers=call.headers,
                data=call.body.form,
                files={"file": (call.body.file_name, file, call.body.media_type)},
                timeout=timeout,
            )
        return
    headers = call.headers | ({"Content-Type": "application/json"} if call.body is not None else {})
    yield http.build_request(
        call.method, call.path, params=call.params, headers=headers, content=call.body, timeout=timeout
    )


def checked_url(url: str) -> httpx.URL:
    """Return `url` as it is used. Raises ClientError when it is no HTTP address."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is no URL: {error}.", "Give one like http://127.0.0.1:8080.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ClientError(f"{url!r} is no HTTP address.", "Give one like http://127.0.0.1:8080.")
    return parsed


def headers_of(api_key: str, tenant: str | None) -> dict[str, str]:
    """Return the headers of every request. Raises ClientError when a value cannot stand in one."""
    for name, value in (("API key", api_key), ("tenant", tenant or "")):
        if not (value.isascii() and (value.isprintable() or not value)):
            raise ClientError(
                f"The {name} holds characters that none has.", "Copy it again, without line ends."
            )
    return {"X-API-Key": api_key} | ({"X-Tenant": tenant} if tenant else {})


def is_loopback(url: httpx.URL) -> bool:
    """A proxy of the environment cannot reach this machine's own loopback."""
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False
