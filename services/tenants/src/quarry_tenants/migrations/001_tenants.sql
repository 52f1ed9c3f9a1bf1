-- An organization whose data is apart from every other's. Its id is the tenant_id of all that it owns.
CREATE TABLE organizations (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Of a key only its digest is kept: the text is shown once, when it is made.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES organizations (id),
    key_sha256 bytea NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    prefix text NOT NULL,
    label text NOT NULL CHECK (label IN ('live', 'test')),
    name text NOT NULL,
    scopes text[] NOT NULL CHECK (NOT 'platform' = ANY (scopes)),
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE INDEX api_keys_of_tenant ON api_keys (tenant_id, id);

-- The platform operator's keys belong to no tenant.
CREATE TABLE operator_keys (
    id uuid PRIMARY KEY,
    key_sha256 bytea NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    prefix text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organizations TO quarry_${service}
    USING (id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_keys TO quarry_${service}
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- Nothing is ever deleted here, and of a key nothing changes but that it is revoked.
REVOKE UPDATE, DELETE ON organizations, api_keys FROM quarry_${service};
GRANT UPDATE (name, disabled) ON organizations TO quarry_${service};
GRANT UPDATE (revoked_at) ON api_keys TO quarry_${service};

-- What the worker role may read across tenants: slug -> tenant, the operator's list of tenants, and key
-- hash -> tenant (not what its owner wrote about the key).
CREATE POLICY find_tenant ON organizations FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON organizations TO quarry_${service}_worker;
CREATE POLICY resolve_key ON api_keys FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT (id, tenant_id, key_sha256, scopes, expires_at, revoked_at) ON api_keys
    TO quarry_${service}_worker;

-- No transaction of a tenant can touch the operator's keys.
REVOKE ALL ON operator_keys FROM quarry_${service};
GRANT SELECT, INSERT ON operator_keys TO quarry_${service}_worker;
GRANT UPDATE (revoked_at) ON operator_keys TO quarry_${service}_worker;
