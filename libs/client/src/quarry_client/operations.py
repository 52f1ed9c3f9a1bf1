"""Methods of the clients, made from the functions that build calls."""

import functools
from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, Protocol, Self, TypeVar, overload

from quarry_client.calls import Call

P = ParamSpec("P")
T = TypeVar("T")


class Sender(Protocol):
    """Sends calls."""

    def send(self, call: Call[T]) -> T:
        """Return the answer to `call`."""


class AsyncSender(Protocol):
    """Sends calls without blocking."""

    async def send(self, call: Call[T]) -> T:
        """Return the answer to `call`."""


class Operation(Generic[P, T]):
    """A method of Client made from a function that builds a call: same parameters, the call's answer."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Sender, owner: type) -> Callable[P, T]: ...
    def __get__(self, client: Sender | None, owner: type) -> Self | Callable[P, T]:
        if client is None:
            return self

        @functools.wraps(self._build)
        def operation(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.send(self._build(*args, **kwargs))

        return operation


class AsyncOperation(Generic[P, T]):
    """The same for AsyncClient."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: AsyncSender, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: AsyncSender | None, owner: type) -> Self | Callable[P, Awaitable[T]]:
        if client is None:
            return self

        @functools.wraps(self._build)
        async def operation(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.send(self._build(*args, **kwargs))

        return operation
