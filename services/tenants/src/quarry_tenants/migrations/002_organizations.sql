-- A tenant's plan, where it differs from it, and where it stands in its life.
ALTER TABLE organizations
    ADD COLUMN plan text NOT NULL DEFAULT 'standard',
    ADD COLUMN quota_changes jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN state text NOT NULL DEFAULT 'active'
        CHECK (state IN ('active', 'disabled', 'deleting', 'purging', 'purged')),
    ADD COLUMN cors_origins text[] NOT NULL DEFAULT '{}',
    ADD COLUMN purge_at timestamptz;

UPDATE organizations SET state = 'disabled' WHERE disabled;
ALTER TABLE organizations DROP COLUMN disabled;
ALTER TABLE organizations ALTER COLUMN plan DROP DEFAULT;
CREATE INDEX organizations_to_purge ON organizations (purge_at) WHERE state IN ('deleting', 'purging');

GRANT UPDATE (name, plan, quota_changes, state, cors_origins, purge_at) ON organizations TO quarry_${service};

-- Bounds of a key. Keys that replace each other share a bucket of the rate limit.
ALTER TABLE api_keys
    ADD COLUMN collections text[],
    ADD COLUMN networks text[] NOT NULL DEFAULT '{}',
    ADD COLUMN principals text[] NOT NULL DEFAULT '{}',
    ADD COLUMN requests_per_second integer,
    ADD COLUMN rate_bucket uuid,
    ADD COLUMN rotated_from uuid REFERENCES api_keys (id),
    ADD COLUMN last_used_at timestamptz;

UPDATE api_keys SET rate_bucket = id;
ALTER TABLE api_keys ALTER COLUMN rate_bucket SET NOT NULL;

GRANT UPDATE (expires_at, last_used_at) ON api_keys TO quarry_${service};
GRANT SELECT (collections, networks, principals, requests_per_second, rate_bucket) ON api_keys
    TO quarry_${service}_worker;

-- What was done by whom, and what was denied. Each entry holds the hash of the one before it; the head is kept
-- apart, so that a missing end shows. The texts are hashed as they stand: `before` and `after` are JSON, but
-- not jsonb, which would write it anew.
CREATE TABLE audit_entries (
    tenant_id uuid NOT NULL,
    number bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('done', 'denied')),
    before text,
    after text,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, number)
);

CREATE INDEX audit_entries_of_action ON audit_entries (tenant_id, action, number);

CREATE TABLE audit_heads (
    tenant_id uuid PRIMARY KEY,
    number bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT '\x'
);

-- How often a key was used on a day (UTC). A report that comes again counts once: what was taken in is known for
-- two hours.
CREATE TABLE key_days (
    tenant_id uuid NOT NULL,
    key_id uuid NOT NULL REFERENCES api_keys (id),
    day date NOT NULL,
    requests bigint NOT NULL,
    denied bigint NOT NULL,
    anomalies text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, key_id, day)
);

-- Searches of a day (UTC): those leased to gateways, answered ones among them, and those known to be answered.
-- `told` is the percentage of the quota that was told last.
CREATE TABLE search_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    leased bigint NOT NULL DEFAULT 0,
    answered bigint NOT NULL DEFAULT 0,
    told smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day)
);

-- Requests that count once however often they come, and what was granted.
CREATE TABLE receipts (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    granted bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX receipts_age ON receipts (at);

-- Names that tenants claim. One name may be claimed by several, and be verified for one.
CREATE TABLE domains (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    token text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'verified', 'lapsed')),
    created_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    checked_at timestamptz,
    missing_since timestamptz,
    problem text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, name)
);

CREATE UNIQUE INDEX domains_verified ON domains (name) WHERE state = 'verified';

-- Public halves of the keys that sign search tokens.
CREATE TABLE signing_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    collections text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    revoke_before timestamptz,
    revoked_at timestamptz
);

CREATE INDEX signing_keys_of_tenant ON signing_keys (tenant_id, id);

-- The purge of a tenant: what it removed so far, and in the end the receipt.
CREATE TABLE purges (
    tenant_id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    requested_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    removed jsonb NOT NULL DEFAULT '{}',
    left_over jsonb NOT NULL DEFAULT '{}',
    clean_passes integer NOT NULL DEFAULT 0,
    audit_entries bigint NOT NULL DEFAULT 0,
    audit_head_hash bytea NOT NULL DEFAULT '\x'
);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'audit_entries', 'audit_heads', 'key_days', 'search_days', 'receipts', 'domains', 'signing_keys', 'purges'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO quarry_${service}
             USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)
             WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', name);
    END LOOP;
END $$;

-- The log is appended to; nothing in it is changed or taken away, but with its tenant.
REVOKE UPDATE, DELETE ON audit_entries FROM quarry_${service};
REVOKE DELETE ON audit_heads, key_days, search_days, signing_keys, purges FROM quarry_${service};

-- What the worker role may do across tenants besides: name -> tenant and domains to look at again, id -> public
-- key, receipts that are too old, purges to go on with, and removing rows of tenants that are being purged, and
-- of no others.
CREATE POLICY resolve ON domains FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON domains TO quarry_${service}_worker;
CREATE POLICY resolve ON signing_keys FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON signing_keys TO quarry_${service}_worker;
CREATE POLICY expire ON receipts TO quarry_${service}_worker USING (true);
GRANT SELECT, DELETE ON receipts TO quarry_${service}_worker;
CREATE POLICY find ON purges FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON purges TO quarry_${service}_worker;

CREATE FUNCTION purging(tenant uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM organizations WHERE id = tenant AND state = 'purging')
$$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'api_keys', 'audit_entries', 'audit_heads', 'key_days', 'search_days', 'domains', 'signing_keys'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY purge ON %I FOR DELETE TO quarry_${service}_worker USING (purging(tenant_id))', name);
        EXECUTE format('GRANT DELETE ON %I TO quarry_${service}_worker', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['audit_entries', 'audit_heads', 'key_days', 'search_days'] LOOP
        EXECUTE format(
            'CREATE POLICY count ON %I FOR SELECT TO quarry_${service}_worker USING (purging(tenant_id))', name);
        EXECUTE format('GRANT SELECT ON %I TO quarry_${service}_worker', name);
    END LOOP;
END $$;
