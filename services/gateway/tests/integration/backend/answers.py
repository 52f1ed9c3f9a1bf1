"""What all doubles of services share."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

from quarry_common.contracts.rpc import RpcMethod

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
Answers: TypeAlias = "list[tuple[RpcMethod, Callable[..., Awaitable[msgspec.Struct]]]]"
