-- A named set of documents of one tenant, bound to the embedder that indexes it.
CREATE TABLE collections (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    embedder_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

-- A document's identity. What it says stands in its versions. A deleted one stays as a tombstone, so that the
-- numbers of its versions are never used again.
CREATE TABLE documents (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    collection text NOT NULL,
    external_id text,
    current_version integer,
    latest_version integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE INDEX documents_of_tenant ON documents (tenant_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX documents_of_collection ON documents (tenant_id, collection, id DESC) WHERE deleted_at IS NULL;

-- What a document said at one time. `discarded` ones wait to be removed from every store.
CREATE TABLE versions (
    document_id uuid NOT NULL REFERENCES documents (id),
    version integer NOT NULL,
    tenant_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'failed', 'discarded')),
    title text NOT NULL,
    doc_type text,
    tags text[] NOT NULL,
    metadata jsonb NOT NULL,
    source_url text,
    allowed_principals text[],
    file_name text NOT NULL,
    declared_type text NOT NULL,
    size_bytes bigint NOT NULL,
    blob_path text,
    text_path text,
    fingerprint bytea NOT NULL,
    chunk_count integer NOT NULL DEFAULT 0,
    indexed_points boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (document_id, version)
);

CREATE INDEX versions_to_purge ON versions (created_at)
    WHERE state = 'discarded' OR (state = 'failed' AND indexed_points);

-- Where each passage stands in the extracted text. A chunk's point in the vector index has an id made of
-- document, version and ordinal.
CREATE TABLE chunks (
    document_id uuid NOT NULL,
    version integer NOT NULL,
    ordinal integer NOT NULL,
    tenant_id uuid NOT NULL,
    heading_path text[] NOT NULL,
    page integer,
    char_start integer NOT NULL,
    char_end integer NOT NULL,
    token_count integer NOT NULL,
    PRIMARY KEY (document_id, version, ordinal),
    FOREIGN KEY (document_id, version) REFERENCES versions (document_id, version) ON DELETE CASCADE
);

-- The work of making one version searchable. Whoever holds the lease token does it; every write that matters
-- asks for the token, so that a worker which lost its lease changes nothing.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL REFERENCES documents (id),
    version integer NOT NULL,
    collection text NOT NULL,
    title text NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    stage text CHECK (stage IN ('fetch', 'parse', 'chunk', 'embed', 'index')),
    chunks_done integer NOT NULL DEFAULT 0,
    chunks_total integer,
    attempt integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    takeovers integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT now(),
    lease_token uuid,
    leased_until timestamptz,
    error jsonb,
    traceparent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
);

CREATE INDEX jobs_of_tenant ON jobs (tenant_id, id DESC);
CREATE INDEX jobs_of_document ON jobs (document_id, id DESC);
CREATE INDEX jobs_open ON jobs (tenant_id, id) WHERE state IN ('queued', 'running');

-- Whose turn it is: workers take from the tenant that has waited longest.
CREATE TABLE turns (
    tenant_id uuid PRIMARY KEY,
    claimed_at timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    reply jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'collections', 'documents', 'versions', 'chunks', 'jobs', 'turns', 'idempotency_keys'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO quarry_${service}
             USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)
             WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', name);
    END LOOP;
END $$;

-- What the worker role may see and change across tenants: jobs to claim and whose turn it is, versions to
-- purge, idempotency keys that are too old.
CREATE POLICY claim ON jobs TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON jobs TO quarry_${service}_worker;
CREATE POLICY claim ON turns TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON turns TO quarry_${service}_worker;
CREATE POLICY purge ON versions TO quarry_${service}_worker USING (true);
GRANT SELECT ON versions TO quarry_${service}_worker;
CREATE POLICY expire ON idempotency_keys TO quarry_${service}_worker USING (true);
GRANT SELECT, DELETE ON idempotency_keys TO quarry_${service}_worker;
