-- A receiver of a tenant's events: what its owner has set. Secrets and what its headers hold are encrypted.
CREATE TABLE endpoints (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    url text NOT NULL,
    description text NOT NULL,
    event_types text[] NOT NULL,
    header_names text[] NOT NULL,
    headers bytea NOT NULL,
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_until timestamptz,
    enabled boolean NOT NULL,
    disabled_reason text CHECK (disabled_reason IN ('owner', 'gone', 'requested', 'failing')),
    disabled_at timestamptz,
    ordered boolean NOT NULL,
    requests_per_second integer CHECK (requests_per_second > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    revision integer NOT NULL DEFAULT 1,
    CHECK (enabled = (disabled_reason IS NULL)),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);

CREATE INDEX endpoints_of_tenant ON endpoints (tenant_id, id);

-- What becomes of an endpoint while it is delivered to. Who delivers holds the lease: one process at a time has
-- an endpoint, so that its rate, its order and its circuit are kept without asking others.
CREATE TABLE queues (
    endpoint_id uuid PRIMARY KEY REFERENCES endpoints (id) ON DELETE CASCADE,
    tenant_id uuid NOT NULL,
    due_at timestamptz,              -- when there is something to do; null is never
    lease_token uuid,
    leased_until timestamptz,
    failures integer NOT NULL DEFAULT 0,      -- in a row
    circuit_until timestamptz,                -- no attempts before it; then a probe
    failing_since timestamptz,                -- first failure since the last success
    warned_at timestamptz,
    last_delivered_at timestamptz
);

CREATE INDEX queues_due ON queues (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX queues_of_tenant ON queues (tenant_id);

-- Tenants take turns: whose was served longest ago comes first.
CREATE TABLE turns (
    tenant_id uuid PRIMARY KEY,
    served_at timestamptz NOT NULL DEFAULT '-infinity'
);

-- An event as it is sent, once for all endpoints that want it.
CREATE TABLE messages (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,                -- of the event: the `webhook-id`
    event_type text NOT NULL,
    subject text NOT NULL,
    payload bytea NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX messages_age ON messages (created_at);

CREATE TABLE deliveries (
    id uuid PRIMARY KEY,             -- of version 7: sorted by when it was made
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    message_id uuid NOT NULL,
    event_type text NOT NULL,
    subject text NOT NULL,
    position bigint NOT NULL,        -- place of the event in its stream: the order of ordered endpoints
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'held', 'expired')),
    attempts integer NOT NULL DEFAULT 0,      -- all there were
    step integer NOT NULL DEFAULT 0,          -- of the schedule; a redelivery begins it again
    forced boolean NOT NULL DEFAULT false,    -- to be tried though the endpoint is disabled: a test, a redelivery
    next_attempt_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    held_at timestamptz,
    last_outcome text,
    last_status integer,
    UNIQUE (endpoint_id, message_id),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL))
);

CREATE INDEX deliveries_due ON deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_in_order ON deliveries (endpoint_id, position) WHERE state = 'pending';
CREATE INDEX deliveries_forced ON deliveries (endpoint_id) WHERE state = 'pending' AND forced;
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id, id);
CREATE INDEX deliveries_in_state ON deliveries (endpoint_id, state, id) WHERE state IN ('failed', 'held', 'expired');
CREATE INDEX deliveries_of_message ON deliveries (tenant_id, message_id);
CREATE INDEX deliveries_of_tenant ON deliveries (tenant_id);
CREATE INDEX deliveries_done ON deliveries (created_at) WHERE state IN ('delivered', 'failed', 'expired');
CREATE INDEX deliveries_held ON deliveries (held_at) WHERE state = 'held';

CREATE TABLE attempts (
    delivery_id uuid NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number integer NOT NULL,
    tenant_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms real NOT NULL,
    outcome text NOT NULL,
    status integer,
    detail text NOT NULL,
    url text NOT NULL,
    request_headers jsonb NOT NULL,
    response_headers jsonb NOT NULL,
    response_excerpt text NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

CREATE INDEX attempts_of_tenant ON attempts (tenant_id);

-- Success rates and latencies are read from here, never counted from the log.
CREATE TABLE hours (
    endpoint_id uuid NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    hour timestamptz NOT NULL,
    tenant_id uuid NOT NULL,
    delivered integer NOT NULL,
    failed integer NOT NULL,
    PRIMARY KEY (endpoint_id, hour)
);

CREATE INDEX hours_age ON hours (hour);
CREATE INDEX hours_of_tenant ON hours (tenant_id);

-- Answered attempts by duration: bucket n holds those above 1.1^(n-1) and up to 1.1^n milliseconds.
CREATE TABLE latencies (
    endpoint_id uuid NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    hour timestamptz NOT NULL,
    bucket smallint NOT NULL,
    tenant_id uuid NOT NULL,
    answers integer NOT NULL,
    PRIMARY KEY (endpoint_id, hour, bucket)
);

CREATE INDEX latencies_age ON latencies (hour);
CREATE INDEX latencies_of_tenant ON latencies (tenant_id);

-- Jobs that make deliveries of a range pending again; `reached` is how far in the stream one has come.
CREATE TABLE replays (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('recover', 'replay')),
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    event_types text[] NOT NULL,
    examined bigint NOT NULL DEFAULT 0,
    matched bigint NOT NULL DEFAULT 0,
    reached text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    lease_token uuid,
    leased_until timestamptz,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

CREATE INDEX replays_to_do ON replays (id) WHERE state IN ('queued', 'running');
CREATE INDEX replays_of_endpoint ON replays (endpoint_id, id);
CREATE INDEX replays_of_tenant ON replays (tenant_id);

-- What was told of a tenant's quota of endpoints, so that each is told once.
CREATE TABLE quota_notices (
    tenant_id uuid PRIMARY KEY,
    quota bigint NOT NULL,
    threshold boolean NOT NULL,
    exceeded boolean NOT NULL
);

DO $$
DECLARE each text;
BEGIN
    FOREACH each IN ARRAY ARRAY[
        'endpoints', 'queues', 'turns', 'messages', 'deliveries', 'attempts', 'hours', 'latencies', 'replays',
        'quota_notices'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', each);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', each);
        EXECUTE format($policy$
            CREATE POLICY tenant ON %I TO quarry_${service}
                USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
            $policy$, each);
    END LOOP;
END $$;

-- Across tenants the worker sees which endpoint is due and whose turn it is, replays that wait, and what is too
-- old; the operator's view names endpoints. All else is done in the transaction of the endpoint's tenant.
CREATE POLICY claim ON queues TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON queues TO quarry_${service}_worker;
CREATE POLICY claim ON turns TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON turns TO quarry_${service}_worker;
CREATE POLICY claim ON replays TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON replays TO quarry_${service}_worker;
CREATE POLICY oversee ON endpoints FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT (id, tenant_id, url, description, event_types, header_names, enabled, disabled_reason, disabled_at,
    ordered, requests_per_second, previous_until, created_at, updated_at, revision)
    ON endpoints TO quarry_${service}_worker;
CREATE POLICY expire ON messages TO quarry_${service}_worker USING (true);
GRANT SELECT (tenant_id, id, created_at), DELETE ON messages TO quarry_${service}_worker;
CREATE POLICY expire ON deliveries TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT SELECT (id, tenant_id, endpoint_id, message_id, state, forced, created_at, held_at, next_attempt_at),
    DELETE,
    UPDATE (state, next_attempt_at, held_at) ON deliveries TO quarry_${service}_worker;
CREATE POLICY expire ON hours TO quarry_${service}_worker USING (true);
GRANT SELECT, DELETE ON hours TO quarry_${service}_worker;
CREATE POLICY expire ON latencies TO quarry_${service}_worker USING (true);
GRANT SELECT, DELETE ON latencies TO quarry_${service}_worker;
