-- What a tenant has: documents that are not deleted, and the bodies of their latest versions. Each change of
-- documents adds to it in its own transaction, behind all its other locks. `told` says by quota what was told
-- of it, and of which limit. `recounted_at` is when it was held against the documents themselves.
CREATE TABLE tenant_counts (
    tenant_id uuid PRIMARY KEY,
    documents bigint NOT NULL DEFAULT 0,
    storage_bytes bigint NOT NULL DEFAULT 0,
    told jsonb NOT NULL DEFAULT '{}',
    recounted_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE INDEX tenant_counts_recounted ON tenant_counts (recounted_at);

-- What was taken in on a day (UTC), what was made of it, and what the tenant had after the day's last change of
-- that; NULL when it did not change.
CREATE TABLE usage_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    documents_added bigint NOT NULL DEFAULT 0,
    bytes_added bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0,
    documents bigint,
    storage_bytes bigint,
    PRIMARY KEY (tenant_id, day)
) WITH (fillfactor = 50);

-- The tombstones of a tenant, and its messages that were published: what only its purge asks for.
CREATE INDEX documents_deleted ON documents (tenant_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX outbox_of_tenant ON outbox (tenant_id) WHERE published_at IS NOT NULL;

-- Whoever migrates owns the tables and sees no row of them while row-level security is forced. The counts are
-- due to be held against the documents at once: the version before may still be running, and counts nothing.
ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE versions NO FORCE ROW LEVEL SECURITY;
INSERT INTO tenant_counts (tenant_id, documents, storage_bytes, recounted_at)
SELECT d.tenant_id, count(*), coalesce(sum(v.size_bytes), 0), '-infinity'
FROM documents d
LEFT JOIN (
    SELECT DISTINCT ON (document_id) document_id, size_bytes FROM versions
    WHERE state <> 'discarded' ORDER BY document_id, version DESC
) v ON v.document_id = d.id
WHERE d.deleted_at IS NULL AND d.latest_version > 0
GROUP BY d.tenant_id;
ALTER TABLE documents FORCE ROW LEVEL SECURITY;
ALTER TABLE versions FORCE ROW LEVEL SECURITY;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenant_counts', 'usage_days'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO quarry_${service}
             USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)
             WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', name);
    END LOOP;
END $$;

-- The worker role sees which tenants there are and when they were recounted, and nothing of what they have.
CREATE POLICY recount ON tenant_counts FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT (tenant_id, recounted_at) ON tenant_counts TO quarry_${service}_worker;
