"""The client, synchronous and asynchronous: the same operations over two transports."""

import asyncio
import functools
import ipaddress
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec, Self, TypeVar, overload

import httpx

from quarry_client import calls
from quarry_client.answers import read_answer
from quarry_client.attempts import Attempts
from quarry_client.calls import Call, FileUpload
from quarry_client.errors import ClientError, UnreachableError
from quarry_client.retry import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")


class _Operation(Generic[P, T]):
    """A method of Client made from a function that builds a call: same parameters, the call's answer."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    def __get__(self, client: "Client | None", owner: type) -> Self | Callable[P, T]:
        if client is None:
            return self

        @functools.wraps(self._build)
        def operation(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.send(self._build(*args, **kwargs))

        return operation


class _AsyncOperation(Generic[P, T]):
    """The same for AsyncClient."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: "AsyncClient | None", owner: type) -> Self | Callable[P, Awaitable[T]]:
        if client is None:
            return self

        @functools.wraps(self._build)
        async def operation(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.send(self._build(*args, **kwargs))

        return operation


class Client:
    """Talks to one installation with one key. May be shared by threads.

    `tenant` is the slug of the tenant that a platform operator acts for. A request that cannot be told
    apart from its repetition is sent again after 429, 502, 503, 504 and broken connections, as `retry`
    allows; any other is sent again only when it surely never left.

    Every operation raises ApiError, UnreachableError or UnreadableAnswerError.
    """

    create_document = _Operation(calls.create_document)
    create_file = _Operation(calls.create_file)
    put_document = _Operation(calls.put_document)
    put_file = _Operation(calls.put_file)
    list_documents = _Operation(calls.list_documents)
    get_document = _Operation(calls.get_document)
    delete_document = _Operation(calls.delete_document)
    list_jobs = _Operation(calls.list_jobs)
    get_job = _Operation(calls.get_job)
    create_collection = _Operation(calls.create_collection)
    list_collections = _Operation(calls.list_collections)
    get_collection = _Operation(calls.get_collection)
    delete_collection = _Operation(calls.delete_collection)
    search = _Operation(calls.search)
    create_key = _Operation(calls.create_key)
    list_keys = _Operation(calls.list_keys)
    revoke_key = _Operation(calls.revoke_key)
    create_tenant = _Operation(calls.create_tenant)
    list_tenants = _Operation(calls.list_tenants)
    health = _Operation(calls.health)
    version = _Operation(calls.version)

    def __init__(
        self,
        url: str,
        api_key: str,
        tenant: str | None = None,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        base_url = _checked_url(url)
        self._base_url = str(base_url).rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._retry = retry or RetryPolicy()
        self._stopping = threading.Event()
        self._http = httpx.Client(
            base_url=base_url, headers=_headers(api_key, tenant), trust_env=not _is_loopback(base_url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End waiting retries and close the connections."""
        self.stop_retrying()
        self._http.close()

    def stop_retrying(self) -> None:
        """Send nothing again from now on; a call that waits to be sent again fails at once."""
        self._stopping.set()

    def send(self, call: Call[T], *, retry: RetryPolicy | None = None) -> T:
        """Send `call`, again if need be, and return its answer; `retry` instead of the client's own."""
        attempts = Attempts(retry or self._retry, call, self._base_url)
        while True:
            try:
                with _built(self._http, call, self._timeout_seconds) as request:
                    response = self._http.send(request)
            except httpx.RequestError as error:
                delay = attempts.after_failure(error)
            else:
                pause = attempts.after_response(response)
                if pause is None:
                    return read_answer(call, response)
                delay = pause
            if self._stopping.wait(delay):
                raise UnreachableError(f"{call.method} {call.path} was given up because the client stops.")


class AsyncClient:
    """The same operations as Client, to be awaited; belongs to one event loop."""

    create_document = _AsyncOperation(calls.create_document)
    create_file = _AsyncOperation(calls.create_file)
    put_document = _AsyncOperation(calls.put_document)
    put_file = _AsyncOperation(calls.put_file)
    list_documents = _AsyncOperation(calls.list_documents)
    get_document = _AsyncOperation(calls.get_document)
    delete_document = _AsyncOperation(calls.delete_document)
    list_jobs = _AsyncOperation(calls.list_jobs)
    get_job = _AsyncOperation(calls.get_job)
    create_collection = _AsyncOperation(calls.create_collection)
    list_collections = _AsyncOperation(calls.list_collections)
    get_collection = _AsyncOperation(calls.get_collection)
    delete_collection = _AsyncOperation(calls.delete_collection)
    search = _AsyncOperation(calls.search)
    create_key = _AsyncOperation(calls.create_key)
    list_keys = _AsyncOperation(calls.list_keys)
    revoke_key = _AsyncOperation(calls.revoke_key)
    create_tenant = _AsyncOperation(calls.create_tenant)
    list_tenants = _AsyncOperation(calls.list_tenants)
    health = _AsyncOperation(calls.health)
    version = _AsyncOperation(calls.version)

    def __init__(
        self,
        url: str,
        api_key: str,
        tenant: str | None = None,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        base_url = _checked_url(url)
        self._base_url = str(base_url).rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._retry = retry or RetryPolicy()
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_headers(api_key, tenant), trust_env=not _is_loopback(base_url)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call[T], *, retry: RetryPolicy | None = None) -> T:
        """Send `call`, again if need be, and return its answer; `retry` instead of the client's own."""
        attempts = Attempts(retry or self._retry, call, self._base_url)
        while True:
            try:
                with _built(self._http, call, self._timeout_seconds) as request:
                    response = await self._http.send(request)
            except httpx.RequestError as error:
                delay = attempts.after_failure(error)
            else:
                pause = attempts.after_response(response)
                if pause is None:
                    return read_answer(call, response)
                delay = pause
            await asyncio.sleep(delay)


@contextmanager
def _built(
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
                files={"file": (call.body.file_name, file)},
                timeout=timeout,
            )
        return
    headers = call.headers | ({"Content-Type": "application/json"} if call.body is not None else {})
    yield http.build_request(
        call.method, call.path, params=call.params, headers=headers, content=call.body, timeout=timeout
    )


def _checked_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is no URL: {error}.", "Give one like http://127.0.0.1:8080.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ClientError(f"{url!r} is no HTTP address.", "Give one like http://127.0.0.1:8080.")
    return parsed


def _headers(api_key: str, tenant: str | None) -> dict[str, str]:
    for name, value in (("API key", api_key), ("tenant", tenant or "")):
        if not (value.isascii() and (value.isprintable() or not value)):
            raise ClientError(
                f"The {name} holds characters that none has.", "Copy it again, without line ends."
            )
    return {"X-API-Key": api_key} | ({"X-Tenant": tenant} if tenant else {})


def _is_loopback(url: httpx.URL) -> bool:
    """A proxy of the environment cannot reach this machine's own loopback."""
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False
