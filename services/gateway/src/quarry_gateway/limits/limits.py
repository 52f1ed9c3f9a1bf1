"""All limits of a gateway, opened together."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quarry_common.messaging.rpc import RpcClient
from quarry_common.service import Part
from quarry_gateway.limits.key_use import KeyUse
from quarry_gateway.limits.rates import Rates, open_rates
from quarry_gateway.limits.searches import SearchQuota
from quarry_gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Limits:
    """What a request has to pass, and where it is counted."""

    rates: Rates
    searches: SearchQuota
    key_use: KeyUse

    @property
    def parts(self) -> Sequence[Part]:
        """What works beside the requests, as long as the process does."""
        return [self.searches, self.key_use]


@asynccontextmanager
async def open_limits(settings: GatewaySettings, rpc: RpcClient) -> AsyncIterator[Limits]:
    """Yield the limits. `rpc` is used until the end: what the last requests have left is told then."""
    async with open_rates(settings) as rates:
        limits = Limits(rates, SearchQuota(rpc), KeyUse(rpc))
        try:
            yield limits
        finally:
            await limits.searches.flush()
            await limits.key_use.flush()
