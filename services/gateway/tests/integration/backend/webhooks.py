"""The webhooks service as the gateway sees it."""

from uuid import UUID

import msgspec

from quarry_common.contracts import (
    audit,
)
from quarry_common.contracts import webhooks as hooks
from quarry_common.errors import (
    NotFoundError,
)
from quarry_common.ids import new_id

from .answers import NOW, Answers


class Webhooks:
    """Endpoints and their deliveries."""

    def __init__(self) -> None:
        self.endpoints: dict[tuple[UUID, UUID], hooks.Endpoint] = {}

    def answers(self) -> Answers:
        return [
            (hooks.CREATE_ENDPOINT, self.create_endpoint),
            (hooks.GET_ENDPOINT, self.get_endpoint),
            (hooks.LIST_ENDPOINTS, self.list_endpoints),
            (hooks.UPDATE_ENDPOINT, self.update_endpoint),
            (hooks.DELETE_ENDPOINT, self.get_endpoint),
            (hooks.ROTATE_SECRET, self.rotate_secret),
            (hooks.SEND_TEST, self.deliver),
            (hooks.REDELIVER, self.deliver),
            (hooks.LIST_DELIVERIES, self.list_deliveries),
            (hooks.GET_DELIVERY, self.get_delivery),
            (hooks.START_REPLAY, self.start_replay),
            (hooks.GET_REPLAY, self.get_replay),
            (hooks.ENDPOINT_STATS, self.endpoint_stats),
            (hooks.WEBHOOKS_OVERVIEW, self.overview),
            (audit.OWNERS_OF_WEBHOOKS, self.owners_of_webhooks),
        ]

    async def create_endpoint(self, asked: hooks.CreateEndpoint) -> hooks.EndpointWithSecret:
        made = hooks.Endpoint(
            id=new_id(),
            url=asked.endpoint.url,
            description=asked.endpoint.description,
            event_types=asked.endpoint.event_types,
            header_names=list(asked.endpoint.headers),
            enabled=asked.endpoint.enabled,
            disabled_reason=None,
            disabled_at=None,
            ordered=asked.endpoint.ordered,
            requests_per_second=asked.endpoint.requests_per_second,
            circuit=hooks.Circuit.CLOSED,
            circuit_until=None,
            failing_since=None,
            last_delivered_at=None,
            secret_expires_at=None,
            pending=0,
            held=0,
            created_at=NOW,
            updated_at=NOW,
            revision=1,
        )
        self.endpoints[asked.tenant_id, made.id] = made
        return hooks.EndpointWithSecret(made, "whsec_secret")

    async def get_endpoint(self, asked: hooks.EndpointRef) -> hooks.Endpoint:
        if (found := self.endpoints.get((asked.tenant_id, asked.endpoint_id))) is None:
            raise NotFoundError("There is no such webhook endpoint.")
        return found

    async def list_endpoints(self, asked: hooks.ListEndpoints) -> hooks.EndpointPage:
        mine = [each for (tenant, _), each in self.endpoints.items() if tenant == asked.tenant_id]
        return hooks.EndpointPage(mine[: asked.limit], "more" if len(mine) > asked.limit else None)

    async def update_endpoint(self, asked: hooks.UpdateEndpoint) -> hooks.Endpoint:
        before = await self.get_endpoint(asked.ref)
        given = {
            name: value
            for name, value in msgspec.structs.asdict(asked.changes).items()
            if value is not msgspec.UNSET and name != "headers"
        }
        after = msgspec.structs.replace(before, **given, revision=before.revision + 1)
        self.endpoints[asked.ref.tenant_id, after.id] = after
        return after

    async def rotate_secret(self, asked: hooks.RotateSecret) -> hooks.EndpointWithSecret:
        return hooks.EndpointWithSecret(await self.get_endpoint(asked.ref), "whsec_another")

    async def deliver(self, asked: hooks.SendTest | hooks.DeliveryRef) -> hooks.Delivery:
        ref = asked.ref if isinstance(asked, hooks.SendTest) else asked.endpoint
        endpoint = await self.get_endpoint(ref)
        return hooks.Delivery(
            id=new_id() if isinstance(asked, hooks.SendTest) else asked.delivery_id,
            endpoint_id=endpoint.id,
            webhook_id="an-event",
            event_type="webhook.test",
            subject=str(endpoint.id),
            state=hooks.DeliveryState.PENDING,
            attempts=0,
            created_at=NOW,
            next_attempt_at=NOW,
            delivered_at=None,
            last_outcome=None,
            last_status=None,
        )

    async def list_deliveries(self, asked: hooks.ListDeliveries) -> hooks.DeliveryPage:
        return hooks.DeliveryPage([await self.deliver(hooks.SendTest(asked.ref))])

    async def get_delivery(self, asked: hooks.DeliveryRef) -> hooks.DeliveryDetail:
        return hooks.DeliveryDetail(await self.deliver(asked), msgspec.Raw(b'{"id":"an-event"}'), [])

    async def start_replay(self, asked: hooks.StartReplay) -> hooks.Replay:
        await self.get_endpoint(asked.ref)
        return hooks.Replay(
            id=new_id(),
            endpoint_id=asked.ref.endpoint_id,
            kind=asked.kind,
            state=hooks.ReplayState.QUEUED,
            since=asked.since,
            until=asked.until,
            event_types=asked.event_types,
            examined=0,
            matched=0,
            created_at=NOW,
            finished_at=None,
            error="",
        )

    async def get_replay(self, asked: hooks.ReplayRef) -> hooks.Replay:
        kind = hooks.ReplayKind.REPLAY
        return await self.start_replay(hooks.StartReplay(ref=asked.endpoint, kind=kind, since=NOW, until=NOW))

    async def endpoint_stats(self, asked: hooks.StatsOf) -> hooks.Stats:
        await self.get_endpoint(asked.ref)
        hour = hooks.StatsHour(
            hour=NOW, attempts=2, delivered=1, failed=1, success_rate=0.5, p50_ms=10.0, p95_ms=20.0
        )
        return hooks.Stats(hour, [hour])

    async def overview(self, asked: hooks.Overview) -> hooks.OverviewPage:
        every = [hooks.TenantEndpoint(tenant, each) for (tenant, _), each in self.endpoints.items()]
        return hooks.OverviewPage(3, 2, NOW, every[: asked.limit])

    async def owners_of_webhooks(self, asked: audit.OwnersOf) -> audit.Owners:
        owners = {str(each): tenant for tenant, each in self.endpoints if each in asked.ids}
        return audit.Owners(owners)
