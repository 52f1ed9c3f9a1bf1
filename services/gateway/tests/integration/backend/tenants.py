"""The tenants service as the gateway sees it."""

from uuid import UUID

import msgspec

from quarry_common import keys
from quarry_common.contracts import (
    api_keys,
    audit,
    domains,
    signing_keys,
    tenancy,
    usage,
)
from quarry_common.contracts.rpc import Nothing
from quarry_common.errors import (
    ConflictError,
    NotFoundError,
    UnauthenticatedError,
)
from quarry_common.ids import new_id

from .answers import NOW, Answers


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


class Tenants:
    """Tenants, keys and what is counted of them."""

    def __init__(self) -> None:
        self.acme = _tenant("acme", "Acme Ltd")
        self.other = _tenant("other", "Other Ltd")
        self.tenants = {tenant.slug: tenant for tenant in (self.acme, self.other)}
        self.principals: dict[bytes, api_keys.Principal] = {}
        self.acts: list[audit.AuditAct] = []
        self.tallies: list[api_keys.KeyTally] = []
        self.answered = 0
        """Searches that were told to be answered."""
        self.resolved = 0

    def answers(self) -> Answers:
        return [
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
            (usage.REPORT_SEARCHES, self.report_searches),
            (api_keys.REPORT_KEY_USE, self.report_key_use),
            (domains.REGISTER_DOMAIN, self.change_domain),
            (domains.CHECK_DOMAIN, self.change_domain),
            (signing_keys.CREATE_SIGNING_KEY, self.create_signing_key),
            (signing_keys.REVOKE_TOKENS, self.revoke_tokens),
        ]

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

    async def report_searches(self, asked: usage.ReportSearches) -> Nothing:
        self.answered += sum(tally.answered for tally in asked.tallies)
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
