"""The form of a request between services."""

from typing import Generic, TypeVar

import msgspec

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)


class RpcMethod(msgspec.Struct, Generic[RequestT, ReplyT], frozen=True):
    """A method of a service: its name and the types of its request and reply (JSON by msgspec)."""

    service: str
    name: str
    request: type[RequestT]
    reply: type[ReplyT]

    @property
    def subject(self) -> str:
        """Where requests are sent."""
        return f"rpc.v1.{self.service}.{self.name}"


class Nothing(msgspec.Struct, frozen=True):
    """An empty request or reply."""
