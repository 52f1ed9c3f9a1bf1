-- What was answered under an Idempotency-Key, written in the transaction of the work itself. Of the key only a
-- digest is kept; the answer is sealed with the key, so that a secret in it is nowhere in the clear.
CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    key_digest bytea NOT NULL,
    fingerprint bytea NOT NULL,
    reply bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key_digest)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON idempotency_keys TO quarry_${service}
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- The worker forgets those of any tenant that are too old.
CREATE POLICY expire ON idempotency_keys TO quarry_${service}_worker USING (true);
GRANT SELECT, DELETE ON idempotency_keys TO quarry_${service}_worker;
