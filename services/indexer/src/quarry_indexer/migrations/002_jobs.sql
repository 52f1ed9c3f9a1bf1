-- Keys are kept in the table that every service has (010_idempotency).
DROP TABLE idempotency_keys;

-- `revision` counts the changes that somebody asked for. A `stale` document's points may say something else
-- than its versions: a change was begun and not ended.
ALTER TABLE documents
    ADD COLUMN revision integer NOT NULL DEFAULT 1,
    ADD COLUMN stale boolean NOT NULL DEFAULT false;

CREATE INDEX documents_stale ON documents (id) WHERE stale;
CREATE INDEX documents_updated ON documents (tenant_id, updated_at, id) WHERE deleted_at IS NULL;

-- A `cancelled` version may be tried again, as a `failed` one may. `patches` counts the changes made to what a
-- version says while it is being indexed.
ALTER TABLE versions
    DROP CONSTRAINT versions_state_check,
    ADD CONSTRAINT versions_state_check
        CHECK (state IN ('pending', 'active', 'failed', 'cancelled', 'discarded')),
    ADD COLUMN patches integer NOT NULL DEFAULT 0;

DROP INDEX versions_to_purge;
CREATE INDEX versions_to_purge ON versions (created_at)
    WHERE state = 'discarded' OR (state IN ('failed', 'cancelled') AND indexed_points);
CREATE INDEX versions_of_blob ON versions (blob_path) WHERE blob_path IS NOT NULL;
CREATE INDEX versions_of_text ON versions (text_path) WHERE text_path IS NOT NULL;

-- The same place in bytes of UTF-8, so that neighbouring passages are read from the text in one piece.
ALTER TABLE chunks
    ADD COLUMN byte_start bigint NOT NULL DEFAULT 0,
    ADD COLUMN byte_end bigint NOT NULL DEFAULT 0;

-- Jobs that were under way begin anew, for their chunks know no bytes yet.
UPDATE jobs SET chunks_done = 0, chunks_total = NULL WHERE state IN ('queued', 'running');

-- `priority` is 0 when somebody waits and 1 for imports. `revision` grows with every change, so that who
-- watches knows what is new. `alone`: the next attempt reads the document while nothing else is read.
-- `discarded_at`: somebody has decided that a failed job is not worth replaying. `takeovers` counts the workers
-- that died over the job since it last came forward.
ALTER TABLE jobs
    ADD COLUMN priority smallint NOT NULL DEFAULT 0,
    ADD COLUMN size_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN alone boolean NOT NULL DEFAULT false,
    ADD COLUMN log jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN discarded_at timestamptz,
    SET (fillfactor = 70);

DROP INDEX jobs_open;
CREATE INDEX jobs_waiting ON jobs (tenant_id, priority, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (tenant_id, id) WHERE state = 'running';
CREATE INDEX jobs_dead ON jobs (tenant_id, id DESC) WHERE state = 'failed' AND discarded_at IS NULL;
CREATE INDEX jobs_finished ON jobs (tenant_id, finished_at) WHERE finished_at IS NOT NULL;

-- How often a tenant had its turn: every fourth goes to its imports first.
ALTER TABLE turns ADD COLUMN claims bigint NOT NULL DEFAULT 0;

-- One more line of a job's log; of a long one the last hundred are kept.
CREATE FUNCTION logged(log jsonb, attempt integer, message text) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN jsonb_array_length(log) >= 100 THEN log - 0 ELSE log END
        || jsonb_build_object('at', clock_timestamp(), 'attempt', attempt, 'message', message)
$$;

-- A text as a time, or NULL when it is none.
CREATE FUNCTION moment(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- Vectors by what they were made of: a digest of the embedder's id and the text. Float32, little-endian.
CREATE TABLE embeddings (
    tenant_id uuid NOT NULL,
    text_digest bytea NOT NULL,
    vector bytea NOT NULL,
    used_on date NOT NULL DEFAULT current_date,
    PRIMARY KEY (tenant_id, text_digest)
);

CREATE INDEX embeddings_unused ON embeddings (used_on);

ALTER TABLE embeddings ENABLE ROW LEVEL SECURITY;
ALTER TABLE embeddings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON embeddings TO quarry_${service}
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- What the worker role may see and change across tenants besides: vectors that are too old, documents whose
-- points are stale.
CREATE POLICY expire ON embeddings TO quarry_${service}_worker USING (true);
GRANT SELECT, DELETE ON embeddings TO quarry_${service}_worker;
CREATE POLICY stale ON documents FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON documents TO quarry_${service}_worker;
