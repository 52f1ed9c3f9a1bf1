-- Nothing more is written for a tenant whose purge has begun. Whoever writes holds the organization's row until the
-- end of the transaction, and the purge begins when nobody holds it: what it removes does not come again. Of
-- idempotency_keys nothing is said here: its rows come only with rows of these.
CREATE FUNCTION refuse_when_purged() RETURNS trigger
LANGUAGE plpgsql SET search_path = ${service} AS $$
DECLARE found_state text;
BEGIN
    SELECT state INTO found_state FROM organizations WHERE id = NEW.tenant_id FOR KEY SHARE;
    IF found_state IN ('purging', 'purged') THEN
        RAISE EXCEPTION 'the tenant % is %', NEW.tenant_id, found_state
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'api_keys', 'audit_entries', 'audit_heads', 'domains', 'key_days', 'outbox', 'receipts', 'search_days',
        'signing_keys'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER refuse_when_purged BEFORE INSERT ON %I
             FOR EACH ROW EXECUTE FUNCTION refuse_when_purged()', name);
    END LOOP;
END $$;

-- What refers to a key is of the same tenant, and is found by an index when the key goes with its tenant.
DROP INDEX api_keys_of_tenant;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_of_tenant UNIQUE (tenant_id, id);
ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_rotated_from_fkey,
    ADD CONSTRAINT api_keys_rotated_from_fkey FOREIGN KEY (tenant_id, rotated_from)
        REFERENCES api_keys (tenant_id, id) ON DELETE SET NULL (rotated_from);
CREATE INDEX api_keys_replaced ON api_keys (tenant_id, rotated_from) WHERE rotated_from IS NOT NULL;
ALTER TABLE key_days
    DROP CONSTRAINT key_days_key_id_fkey,
    ADD CONSTRAINT key_days_key_id_fkey FOREIGN KEY (tenant_id, key_id) REFERENCES api_keys (tenant_id, id);

-- Leases that were lost with their gateway, of days that are over: the worker finds them, and can do no more than to
-- count as leased what was answered.
CREATE INDEX search_days_unanswered ON search_days (day) WHERE leased > answered;
CREATE POLICY find_over ON search_days FOR SELECT TO quarry_${service}_worker
    USING (day < (now() AT TIME ZONE 'UTC')::date);
CREATE POLICY recount ON search_days FOR UPDATE TO quarry_${service}_worker
    USING (day < (now() AT TIME ZONE 'UTC')::date) WITH CHECK (leased = answered);
GRANT UPDATE (leased) ON search_days TO quarry_${service}_worker;

-- When a purge goes on, and how often in a row it came no further. `left_over` is by store, then by what was counted.
ALTER TABLE purges
    ADD COLUMN go_on_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN failures integer NOT NULL DEFAULT 0;

-- What the worker removes it notes in the same transaction.
CREATE POLICY note ON purges FOR UPDATE TO quarry_${service}_worker USING (purging(tenant_id));
GRANT UPDATE (removed, left_over, clean_passes, go_on_at, failures) ON purges TO quarry_${service}_worker;
