"""What stands behind the gateway, answered from memory and typed by the contracts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from nats.aio.client import Client

from quarry_common import keys
from quarry_common.contracts import (
    analytics,
    api_keys,
    audit,
    collections,
    domains,
    replaying,
    search,
    signing_keys,
    tenancy,
    usage,
)
from quarry_common.contracts import documents as docs
from quarry_common.contracts import jobs as work
from quarry_common.contracts import webhooks as hooks
from quarry_common.contracts.rpc import Nothing
from quarry_common.errors import (
    ConflictError,
    ErrorData,
    NotFoundError,
    PreconditionFailedError,
    QuarryError,
    UnauthenticatedError,
    UnavailableError,
    error_data,
)
from quarry_common.ids import document_id_for, new_id
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcServer
from quarry_common.settings import NatsSettings

IN_THE_BACKGROUND = (
    audit.RecordActs,
    api_keys.ReportKeyUse,
    usage.LeaseSearches,
    usage.SettleSearches,
)
"""What a gateway tells besides what a request needs."""
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def _tenant(slug: str, name: str) -> tenancy.Tenant:
    plan = tenancy.Plan.UNLIMITED
    return tenancy.Tenant(
        id=new_id(),
        slug=slug,
        name=name,
        plan=plan,
        quotas=tenancy.PLAN_QUOTAS[plan],
        quota_changes=tenancy.QuotaChanges(),
        state=tenancy.TenantState.ACTIVE,
        created_at=NOW,
    )


class Backend:
    """What tenants, indexer and search would answer: just enough state to tell right from wrong."""

    def __init__(self) -> None:
        self.acme = _tenant("acme", "Acme Ltd")
        self.other = _tenant("other", "Other Ltd")
        self.tenants = {tenant.slug: tenant for tenant in (self.acme, self.other)}
        self.principals: dict[bytes, api_keys.Principal] = {}
        self.asked: list[msgspec.Struct] = []
        """Every request that came, in order."""
        self.accepted: list[docs.Accept] = []
        self.batches: list[docs.AcceptBatch] = []
        self.documents: dict[tuple[UUID, UUID], docs.Document] = {}
        self.contents: dict[UUID, str] = {}
        """Where the text of each document is, in the blob store."""
        self.chunks: list[docs.Chunk] = []
        self.jobs: dict[tuple[UUID, UUID], work.JobDetail] = {}
        self.endpoints: dict[tuple[UUID, UUID], hooks.Endpoint] = {}
        self.collections: dict[tuple[UUID, str], collections.Collection] = {}
        self.queries: list[search.Query] = []
        self.acts: list[audit.AuditAct] = []
        self.tallies: list[api_keys.KeyTally] = []
        self.answered = 0
        """Searches that were told to be answered."""
        self.resolved = 0
        self.job_outcome: work.JobState | None = work.JobState.SUCCEEDED
        self.job_reads = 0
        self.job_error = ErrorData("encrypted_file", 422, "The file is encrypted", "It asks for a password.")
        self.refuse_accept: QuarryError | None = None
        self.refuse_batch: dict[int, QuarryError] = {}
        """What a part of a batch ends with, by how many parts came before."""
        self.refuse_titles: dict[str, QuarryError] = {}
        """What a document of a batch is refused with, by its title."""
        self.refuse_job: QuarryError | None = None

    def key(
        self, *scopes: tenancy.Scope, tenant: tenancy.Tenant | None = None, operator: bool = False
    ) -> str:
        text = keys.generate(api_keys.KeyLabel.TEST)
        owner = None if operator else tenant or self.acme
        self.principals[keys.sha256(text)] = api_keys.Principal(
            key_id=new_id(),
            tenant_id=owner and owner.id,
            tenant_slug=owner and owner.slug,
            scopes=frozenset({tenancy.Scope.PLATFORM} if operator else scopes or tenancy.TENANT_SCOPES),
            kind=audit.ActorKind.OPERATOR if operator else audit.ActorKind.KEY,
            quotas=None if operator else (owner or self.acme).quotas,
        )
        return text

    def answer_on(self, server: RpcServer, service: str) -> None:
        pairs = {
            "tenants": [
                (api_keys.RESOLVE_KEY, self.resolve_key),
                (tenancy.RESOLVE_SLUG, self.resolve_slug),
                (tenancy.CREATE_TENANT, self.create_tenant),
                (tenancy.LIST_TENANTS, self.list_tenants),
                (api_keys.CREATE_KEY, self.create_key),
                (api_keys.LIST_KEYS, self.list_keys),
                (api_keys.REVOKE_KEY, self.revoke_key),
                (api_keys.ROTATE_KEY, self.rotate_key),
                (tenancy.RESTORE_TENANT, self.restore_tenant),
                (audit.RECORD_ACTS, self.record_acts),
                (usage.LEASE_SEARCHES, self.lease_searches),
                (usage.SETTLE_SEARCHES, self.settle_searches),
                (api_keys.REPORT_KEY_USE, self.report_key_use),
                (domains.REGISTER_DOMAIN, self.change_domain),
                (domains.CHECK_DOMAIN, self.change_domain),
                (signing_keys.CREATE_SIGNING_KEY, self.create_signing_key),
                (signing_keys.REVOKE_TOKENS, self.revoke_tokens),
            ],
            "analytics": [(analytics.SAVE_SET, self.save_set)],
            "webhooks": [
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
            ],
            "indexer": [
                (docs.ACCEPT, self.accept),
                (docs.ACCEPT_BATCH, self.accept_batch),
                (docs.GET_DOCUMENT, self.get_document),
                (docs.LIST_DOCUMENTS, self.list_documents),
                (docs.PATCH_DOCUMENT, self.patch_document),
                (docs.DELETE_DOCUMENT, self.delete_document),
                (docs.GET_CONTENT, self.get_content),
                (docs.LIST_CHUNKS, self.list_chunks),
                (docs.REINDEX, self.reindex),
                (docs.INSPECT_INDEX, self.inspect_index),
                (replaying.replay_of(replaying.OutboxService.INDEXER), self.replay_events),
                (work.GET_JOB, self.get_job),
                (work.LIST_JOBS, self.list_jobs),
                (work.CANCEL_JOB, self.cancel_job),
                (work.RETRY_JOB, self.retry_job),
                (work.CANCEL_JOBS, self.change_jobs),
                (work.LIST_DEAD_LETTERS, self.list_dead_letters),
                (work.REPLAY_DEAD_LETTERS, self.change_jobs),
                (work.DISCARD_DEAD_LETTERS, self.change_jobs),
                (collections.CREATE_COLLECTION, self.create_collection),
                (collections.GET_COLLECTION, self.get_collection),
                (collections.LIST_COLLECTIONS, self.list_collections),
                (collections.UPDATE_COLLECTION, self.update_collection),
                (collections.DELETE_COLLECTION, self.delete_collection),
            ],
            "search": [(search.QUERY, self.query), (search.BATCH, self.search_batch)],
        }
        for method, handler in pairs[service]:
            server.answer(method, self._noted(handler))  # type: ignore[arg-type]

    def _noted(self, handler):  # type: ignore[no-untyped-def]
        async def answer(asked: msgspec.Struct) -> msgspec.Struct:
            if not isinstance(asked, IN_THE_BACKGROUND):
                self.asked.append(asked)
            return await handler(asked)  # type: ignore[no-any-return]

        return answer

    async def resolve_key(self, asked: api_keys.ResolveKey) -> api_keys.Principal:
        self.resolved += 1
        if asked.key_sha256 not in self.principals:
            raise UnauthenticatedError("There is no such key.")
        return self.principals[asked.key_sha256]

    async def resolve_slug(self, asked: tenancy.ResolveSlug) -> tenancy.Tenant:
        if asked.slug not in self.tenants:
            raise NotFoundError("There is no such tenant.")
        return self.tenants[asked.slug]

    async def create_tenant(self, asked: tenancy.CreateTenant) -> tenancy.Tenant:
        if asked.slug in self.tenants:
            raise ConflictError("The slug is taken.")
        return self.tenants.setdefault(asked.slug, _tenant(asked.slug, asked.name))

    async def list_tenants(self, asked: tenancy.ListTenants) -> tenancy.TenantPage:
        return tenancy.TenantPage(list(self.tenants.values())[: asked.limit])

    async def create_key(self, asked: api_keys.CreateKey) -> api_keys.CreatedKey:
        text = keys.generate(asked.label)
        key_id = new_id()
        self.principals[keys.sha256(text)] = api_keys.Principal(
            key_id, asked.tenant_id, "acme", asked.grant.scopes
        )
        return api_keys.CreatedKey(text, self._key(key_id, asked.name, sorted(asked.grant.scopes)))

    async def list_keys(self, asked: api_keys.ListKeys) -> api_keys.KeyPage:
        owned = [who for who in self.principals.values() if who.tenant_id == asked.tenant_id]
        return api_keys.KeyPage(
            [self._key(who.key_id, "key", sorted(who.scopes)) for who in owned[: asked.limit]]
        )

    async def revoke_key(self, asked: api_keys.RevokeKey) -> api_keys.ApiKey:
        for digest, who in list(self.principals.items()):
            if who.key_id == asked.key_id and who.tenant_id == asked.tenant_id:
                del self.principals[digest]
                revoked = self._key(who.key_id, "key", sorted(who.scopes))
                return msgspec.structs.replace(revoked, revoked_at=NOW)
        raise NotFoundError("There is no such key.")

    async def rotate_key(self, asked: api_keys.RotateKey) -> api_keys.CreatedKey:
        for who in list(self.principals.values()):
            if who.key_id == asked.key_id and who.tenant_id == asked.tenant_id:
                text = keys.generate(api_keys.KeyLabel.TEST)
                self.principals[keys.sha256(text)] = msgspec.structs.replace(who, key_id=new_id())
                return api_keys.CreatedKey(text, self._key(new_id(), "key", sorted(who.scopes)))
        raise NotFoundError("There is no such key.")

    async def restore_tenant(self, asked: tenancy.RestoreTenant) -> tenancy.Tenant:
        return next(each for each in self.tenants.values() if each.id == asked.tenant_id)

    async def lease_searches(self, asked: usage.LeaseSearches) -> usage.SearchLease:
        self.answered += asked.answered
        return usage.SearchLease(asked.wanted)

    async def settle_searches(self, asked: usage.SettleSearches) -> Nothing:
        self.answered += asked.answered
        return Nothing()

    async def report_key_use(self, asked: api_keys.ReportKeyUse) -> Nothing:
        self.tallies += asked.tallies
        return Nothing()

    async def change_domain(self, asked: domains.DomainRef) -> domains.Domain:
        return domains.Domain(asked.name, domains.DomainState.PENDING, "_record", "value", NOW)

    async def create_signing_key(
        self, asked: signing_keys.CreateSigningKey
    ) -> signing_keys.CreatedSigningKey:
        key = signing_keys.SigningKey(new_id(), asked.name, "A" * 43, NOW)
        return signing_keys.CreatedSigningKey(key, None)

    async def revoke_tokens(self, asked: signing_keys.RevokeTokens) -> signing_keys.SigningKey:
        return signing_keys.SigningKey(asked.signing_key_id, "key", "A" * 43, NOW, revoked_at=NOW)

    async def record_acts(self, asked: audit.RecordActs) -> Nothing:
        self.acts += asked.acts
        return Nothing()

    @staticmethod
    def _key(key_id: UUID, name: str, scopes: list[tenancy.Scope]) -> api_keys.ApiKey:
        return api_keys.ApiKey(key_id, name, "qk_test_abcd", api_keys.KeyLabel.TEST, scopes, {}, NOW)

    async def accept(self, asked: docs.Accept) -> docs.Accepted:
        if self.refuse_accept is not None:
            raise self.refuse_accept
        self.accepted.append(asked)
        return self._take(asked.tenant_id, asked.document, asked.blob, asked.condition)

    async def accept_batch(self, asked: docs.AcceptBatch) -> docs.AcceptedBatch:
        refusal = self.refuse_batch.get(len(self.batches))
        self.batches.append(asked)
        if refusal is not None:
            raise refusal
        return docs.AcceptedBatch([self._take_item(asked.tenant_id, item) for item in asked.items])

    def _take_item(self, tenant_id: UUID, item: docs.BatchItem) -> docs.BatchResult:
        refusal = self.refuse_titles.get(item.document.title)
        if refusal is not None:
            return docs.BatchResult(error=error_data(refusal))
        return docs.BatchResult(accepted=self._take(tenant_id, item.document, item.blob, None))

    def _take(
        self,
        tenant_id: UUID,
        fields: docs.DocumentFields,
        blob: docs.BlobRef | None,
        condition: docs.Condition | None,
    ) -> docs.Accepted:
        external_id = fields.external_id
        document_id = document_id_for(tenant_id, fields.collection, external_id) if external_id else new_id()
        before = self.documents.get((tenant_id, document_id))
        self._require(before, condition)
        size_bytes = blob.size_bytes if blob else 0
        unchanged = before is not None and before.size_bytes == size_bytes
        revision = (before.revision if before else 0) + (not unchanged)
        job = work.JobDetail(
            id=new_id(), document_id=document_id, collection=fields.collection, title=fields.title, version=1,
            state=work.JobState.QUEUED, stage=None, chunks_done=0, chunks_total=None, attempt=0,
            revision=1, created_at=NOW, queue_position=3, log=[work.LogLine(NOW, 1, "It was queued.")],
        )  # fmt: skip
        self.jobs[tenant_id, job.id] = job
        self.documents[tenant_id, document_id] = docs.Document(
            id=document_id,
            status=docs.DocumentStatus.PENDING,
            version=None,
            latest_version=1,
            revision=revision,
            file_name=blob.file_name if blob else "",
            size_bytes=size_bytes,
            chunk_count=0,
            created_at=NOW,
            updated_at=NOW,
            **msgspec.structs.asdict(fields),
        )
        return docs.Accepted(document_id, job.id, 1, unchanged, revision)

    @staticmethod
    def _require(document: docs.Document | None, condition: docs.Condition | None) -> None:
        if condition is None:
            return
        wanted = condition.revisions
        fine = (
            document is None
            if condition.missing
            else document is not None and (wanted is None or document.revision in wanted)
        )
        if not fine:
            raise PreconditionFailedError("The document is at another revision.")

    async def get_job(self, asked: work.JobRef) -> work.JobDetail:
        self.job_reads += 1
        if self.refuse_job is not None:
            raise self.refuse_job
        job = self._job(asked.tenant_id, asked.job_id)
        if self.job_outcome is not None and not job.state.final:
            # Each look finds it one step further.
            state = work.JobState.RUNNING if job.state is work.JobState.QUEUED else self.job_outcome
            error = self.job_error if state is work.JobState.FAILED else None
            job = self.change(asked.tenant_id, job.id, state=state, error=error)
        return job

    def _job(self, tenant_id: UUID, job_id: UUID) -> work.JobDetail:
        job = self.jobs.get((tenant_id, job_id))
        if job is None:
            raise NotFoundError("There is no such job.")
        return job

    def change(self, tenant_id: UUID, job_id: UUID, **members: object) -> work.JobDetail:
        """Let a job go on; its revision grows."""
        job = self.jobs[tenant_id, job_id]
        changed = msgspec.structs.replace(job, revision=job.revision + 1, **members)
        self.jobs[tenant_id, job_id] = changed
        return changed

    async def list_jobs(self, asked: work.ListJobs) -> work.JobPage:
        found = [job for (tenant_id, _), job in self.jobs.items() if tenant_id == asked.tenant_id]
        return work.JobPage([job for job in found if asked.state in {None, job.state}][: asked.limit])

    async def cancel_job(self, asked: work.ChangeJob) -> work.Job:
        self._job(asked.tenant_id, asked.job_id)
        return self.change(asked.tenant_id, asked.job_id, state=work.JobState.CANCELLED)

    async def retry_job(self, asked: work.ChangeJob) -> work.Job:
        if not self._job(asked.tenant_id, asked.job_id).state.final:
            raise ConflictError("The job is not over.")
        return self.change(asked.tenant_id, asked.job_id, state=work.JobState.QUEUED)

    def _dead(self, tenant_id: UUID, wanted: work.JobFilter) -> list[work.Job]:
        return [
            job
            for (owner, _), job in self.jobs.items()
            if owner == tenant_id
            and job.state is work.JobState.FAILED
            and (wanted.job_ids is None or job.id in wanted.job_ids)
        ]

    async def list_dead_letters(self, asked: work.ListDeadLetters) -> work.JobPage:
        return work.JobPage(self._dead(asked.tenant_id, asked.filter)[: asked.limit])

    async def change_jobs(self, asked: work.ChangeJobs) -> work.JobsChanged:
        return work.JobsChanged(len(self._dead(asked.tenant_id, asked.filter)))

    def _document(self, asked: docs.DocumentRef) -> docs.Document:
        document_id = asked.document_id
        if document_id is None and asked.collection is not None and asked.external_id is not None:
            document_id = document_id_for(asked.tenant_id, asked.collection, asked.external_id)
        found = self.documents.get((asked.tenant_id, document_id or new_id()))
        if found is None:
            raise NotFoundError("There is no such document.")
        return found

    async def get_document(self, asked: docs.DocumentRef) -> docs.Document:
        return self._document(asked)

    async def list_documents(self, asked: docs.ListDocuments) -> docs.DocumentPage:
        found = [item for (tenant_id, _), item in self.documents.items() if tenant_id == asked.tenant_id]
        return docs.DocumentPage(found[: asked.limit], "more" if len(found) > asked.limit else None)

    async def patch_document(self, asked: docs.PatchDocument) -> docs.Document:
        found = self._document(asked)
        self._require(found, asked.condition)
        changed = msgspec.structs.replace(found, revision=found.revision + 1)
        self.documents[asked.tenant_id, found.id] = changed
        return changed

    async def delete_document(self, asked: docs.DeleteDocument) -> docs.Deleted:
        found = self._document(asked)
        self._require(found, asked.condition)
        del self.documents[asked.tenant_id, found.id]
        return docs.Deleted(found.id)

    async def get_content(self, asked: docs.DocumentRef) -> docs.Content:
        return docs.Content(self.contents[self._document(asked).id], 1, 1)

    async def list_chunks(self, asked: docs.ListChunks) -> docs.ChunkPage:
        found = self._document(asked)
        return docs.ChunkPage(found.id, 1, self.chunks[: asked.limit], asked.cursor)

    async def reindex(self, asked: docs.Reindex) -> docs.Reindexing:
        return docs.Reindexing(7, "more")

    async def inspect_index(self, asked: docs.InspectIndex) -> docs.IndexReport:
        return docs.IndexReport(1, 2, 3, 4, 5, 6, 7, asked.repair)

    async def replay_events(self, asked: replaying.ReplayEvents) -> replaying.EventsReplayed:
        return replaying.EventsReplayed(7)

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

    async def save_set(self, asked: analytics.SaveSet) -> analytics.SetDetail:
        self.asked.append(asked)
        raise UnavailableError("There are no judged sets here.")

    async def owners_of_webhooks(self, asked: audit.OwnersOf) -> audit.Owners:
        owners = {str(each): tenant for tenant, each in self.endpoints if each in asked.ids}
        return audit.Owners(owners)

    async def create_collection(self, asked: collections.CreateCollection) -> collections.Collection:
        if (asked.tenant_id, asked.name) in self.collections:
            raise ConflictError("The name is taken.")
        made = collections.Collection(new_id(), asked.name, "minilm", 0, 0, NOW, asked.settings, 3)
        return self.collections.setdefault((asked.tenant_id, asked.name), made)

    async def get_collection(self, asked: collections.CollectionRef) -> collections.Collection:
        found = self.collections.get((asked.tenant_id, asked.name))
        if found is None:
            raise NotFoundError("There is no such collection.")
        return found

    async def list_collections(self, asked: collections.ListCollections) -> collections.CollectionPage:
        found = [item for (tenant_id, _), item in self.collections.items() if tenant_id == asked.tenant_id]
        return collections.CollectionPage(found[: asked.limit])

    async def update_collection(self, asked: collections.UpdateCollection) -> collections.Collection:
        return await self.get_collection(collections.CollectionRef(asked.tenant_id, asked.name))

    async def delete_collection(self, asked: collections.CollectionRef) -> collections.CollectionDeleted:
        await self.get_collection(asked)
        del self.collections[asked.tenant_id, asked.name]
        return collections.CollectionDeleted(asked.name, 0)

    async def query(self, asked: search.Query) -> search.Answer:
        self.queries.append(asked)
        return search.Answer(new_id(), asked.mode, asked.query, 0, [], {"total": 0.1})

    async def search_batch(self, asked: search.Batch) -> search.Outcomes:
        return search.Outcomes(
            [
                search.Outcome(error=NotFoundError("Nothing is called so.").data)
                if query.query == "fail"
                else search.Outcome(answer=await self.query(query))
                for query in asked.queries
            ]
        )


@asynccontextmanager
async def answering(backend: Backend, nats_url: str, *services: str) -> AsyncIterator[None]:
    """Answer for `services` until the block ends."""
    async with broker.connect(NatsSettings(nats_url=nats_url), "test-backend") as connection:
        stopping = asyncio.Event()
        servers = [RpcServer(connection, service) for service in services]
        for server, service in zip(servers, services, strict=True):
            backend.answer_on(server, service)
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.run(stopping))
            for server, service in zip(servers, services, strict=True):
                await _listening(connection, server, service)
            try:
                yield
            finally:
                stopping.set()


async def _listening(connection: Client, server: RpcServer, service: str) -> None:
    # The subscriptions are made on the server's first step; one flush later they are known to the bus.
    await asyncio.sleep(0)
    await connection.flush(timeout=5)
