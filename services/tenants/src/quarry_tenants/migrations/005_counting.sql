-- What gateways count comes for many tenants together, and one statement takes it in, tenant after tenant. These
-- functions go on as the tenant they are given: row-level security holds for each as in a transaction of its own.

-- Go on as `tenant`; return whether anything may be written for it, until the transaction ends.
CREATE FUNCTION hold_tenant(tenant uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', tenant::text, true);
    PERFORM 1 FROM organizations WHERE id = tenant AND state NOT IN ('purging', 'purged') FOR KEY SHARE;
    RETURN FOUND;
END $$;

-- Count answered searches, and return the day as it is then; nothing for a tenant that is not there or is purged.
CREATE FUNCTION count_searches(tenant uuid, of_day date, searches bigint) RETURNS SETOF search_days
LANGUAGE plpgsql AS $$
BEGIN
    IF hold_tenant(tenant) THEN
        RETURN QUERY
            INSERT INTO search_days AS d (tenant_id, day, leased, answered)
            VALUES (tenant, of_day, searches, searches)
            ON CONFLICT (tenant_id, day) DO UPDATE
                SET answered = d.answered + searches, leased = greatest(d.leased, d.answered + searches)
            RETURNING d.*;
    END IF;
END $$;

-- Count requests that were made with a key, and return the key as it was before and its day as it is then; nothing
-- for a key that is not there, or whose tenant is purged. A use before the last one that is known does not change it.
CREATE FUNCTION count_key_use(
    tenant uuid, key uuid, of_day date, more_requests bigint, more_denied bigint, used_at timestamptz
) RETURNS TABLE (name text, created_at timestamptz, last_used_at timestamptz, denied bigint, anomalies text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF NOT hold_tenant(tenant) THEN
        RETURN;
    END IF;
    SELECT k.name, k.created_at, k.last_used_at INTO name, created_at, last_used_at
    FROM api_keys k WHERE k.tenant_id = tenant AND k.id = key FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO key_days AS d (tenant_id, key_id, day, requests, denied)
    VALUES (tenant, key, of_day, more_requests, more_denied)
    ON CONFLICT (tenant_id, key_id, day) DO UPDATE
        SET requests = d.requests + more_requests, denied = d.denied + more_denied
    RETURNING d.denied, d.anomalies INTO denied, anomalies;
    UPDATE api_keys k SET last_used_at = used_at
    WHERE k.tenant_id = tenant AND k.id = key AND (k.last_used_at IS NULL OR k.last_used_at < used_at);
    RETURN NEXT;
END $$;
