"""A gateway that lets everybody in and counts nothing: what the doors cost is measured beside it.

`python -m benchmarks.open_gateway` with the environment of a gateway and OPEN_TENANT, the tenant that every
request is for. It is for measuring alone.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch
from uuid import UUID

from litestar.handlers import BaseRouteHandler

from quarry_common.contracts.audit import ActorKind
from quarry_common.contracts.tenancy import TENANT_SCOPES
from quarry_common.service import run
from quarry_gateway import app
from quarry_gateway.domain import Caller
from quarry_gateway.gateway import Gateway
from quarry_gateway.http.operations import Connection
from quarry_gateway.limits.searches import SearchQuota
from quarry_gateway.service import definition


def main() -> int:
    tenant = UUID(os.environ["OPEN_TENANT"])
    caller = Caller(
        key_id=tenant, kind=ActorKind.KEY, scopes=TENANT_SCOPES, tenant=tenant, tenant_slug="measured"
    )

    async def let_in(connection: Connection, _: BaseRouteHandler) -> None:
        connection.scope["auth"] = caller

    @asynccontextmanager
    async def uncounted(*_: object) -> AsyncIterator[None]:
        yield

    with (
        patch.object(app, "authorize", let_in),
        patch.object(SearchQuota, "search", uncounted),
        patch.object(Gateway, "answered", lambda *_: None),
    ):
        return run(definition)


if __name__ == "__main__":
    sys.exit(main())
