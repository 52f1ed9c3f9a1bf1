-- Answered searches, one partition a day. `occurred_at` is the time within the query's id, so that whoever has the
-- id knows the partition; a search that is told of twice has the same key.
CREATE TABLE searches (
    tenant_id uuid NOT NULL,
    query_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    query text NOT NULL,             -- as it was written
    query_hash bigint NOT NULL,      -- of the query whatever its case and spaces
    mode text NOT NULL,
    collection text NOT NULL,        -- empty: not limited to one
    filtered boolean NOT NULL,
    continued boolean NOT NULL,      -- a later page of a list: in no figure
    collapsed boolean NOT NULL DEFAULT false, -- typed on the way to another query: in no figure
    low_confidence boolean NOT NULL,
    total integer NOT NULL,
    results uuid[] NOT NULL,         -- documents, best first
    top_score double precision,
    similarity double precision,     -- cosine of query and nearest passage
    duration_ms double precision NOT NULL,
    cache text NOT NULL,
    key_id uuid,
    user_id text,
    client_id text,
    trace_id text NOT NULL,
    PRIMARY KEY (query_id, occurred_at)
) PARTITION BY RANGE (occurred_at);

CREATE INDEX searches_of_tenant ON searches (tenant_id, occurred_at, query_id);
CREATE INDEX searches_of_user ON searches (tenant_id, user_id, occurred_at) WHERE user_id IS NOT NULL;

-- What users did with answers, in the partition of the day of the search.
CREATE TABLE interactions (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    query_id uuid NOT NULL,
    searched_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    action text NOT NULL,
    document_id uuid,
    value double precision,
    user_id text,
    client_id text,
    session_id text,
    PRIMARY KEY (tenant_id, query_id, event_id, searched_at)
) PARTITION BY RANGE (searched_at);

CREATE INDEX interactions_of_tenant ON interactions (tenant_id, searched_at);
CREATE INDEX interactions_of_user ON interactions (tenant_id, user_id) WHERE user_id IS NOT NULL;

-- Searches that were answered and are not in the log.
CREATE TABLE unrecorded (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    searches integer NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Days of tenants whose rollups do not hold everything that is recorded. `marks` counts what has come, so that
-- what comes while one is computed is not forgotten.
CREATE TABLE dirty_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    marks bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, day)
);

-- Figures of spans of time. Quarters of an hour tile every time zone's days; hours and days are there to read
-- fewer rows. `queries` and `users` are sorted hashes (eight bytes each), so that unions are exact.
CREATE TABLE spans (
    tenant_id uuid NOT NULL,
    level text NOT NULL CHECK (level IN ('quarter', 'hour', 'day')),
    start timestamptz NOT NULL,
    mode text NOT NULL,
    collection text NOT NULL,
    searches integer NOT NULL,
    results bigint NOT NULL,
    no_results integer NOT NULL,
    low_confidence integer NOT NULL,
    cache_hits integer NOT NULL,
    duration_ms double precision NOT NULL,   -- sum
    durations bytea NOT NULL,                -- sketch
    clicks integer NOT NULL,
    clicked integer NOT NULL,
    reciprocal_ranks double precision NOT NULL,
    collapsed integer NOT NULL,
    queries bytea NOT NULL,
    users bytea NOT NULL,
    PRIMARY KEY (tenant_id, level, start, mode, collection)
);

CREATE INDEX spans_day ON spans (start);

-- Figures of each query on a day (UTC).
CREATE TABLE query_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    query_hash bigint NOT NULL,
    mode text NOT NULL,
    collection text NOT NULL,
    searches integer NOT NULL,
    results bigint NOT NULL,
    no_results integer NOT NULL,
    low_confidence integer NOT NULL,
    duration_ms double precision NOT NULL,
    durations bytea NOT NULL,
    clicks integer NOT NULL,
    clicked integer NOT NULL,
    reciprocal_ranks double precision NOT NULL,
    users bytea NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    query text NOT NULL,
    PRIMARY KEY (tenant_id, day, query_hash, mode, collection)
        INCLUDE (searches, no_results, low_confidence, last_seen)
);

CREATE INDEX query_days_of_query ON query_days (tenant_id, query_hash, day);
CREATE INDEX query_days_day ON query_days (day);

-- When rollups of a tenant were computed last.
CREATE TABLE refreshes (
    tenant_id uuid PRIMARY KEY,
    refreshed_at timestamptz NOT NULL,
    clicks_since date                -- the first day of which a click was told
);

-- How long a tenant's searches are kept, where it is not as long as all others'.
CREATE TABLE retentions (
    tenant_id uuid PRIMARY KEY,
    days integer NOT NULL CHECK (days BETWEEN 1 AND 400)
);

-- Users who are forgotten: what they did before is not taken in when it comes late. Only a digest is kept.
CREATE TABLE forgotten_users (
    tenant_id uuid NOT NULL,
    user_digest bytea NOT NULL,
    forgotten_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_digest)
);

-- Judged queries of a collection, and how good the index was on them.
CREATE TABLE judged_sets (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    collection text NOT NULL,
    queries jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    revision integer NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name)
);

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    set_id uuid NOT NULL REFERENCES judged_sets (id) ON DELETE CASCADE,
    mode text NOT NULL,
    ran_at timestamptz NOT NULL DEFAULT now(),
    measures jsonb NOT NULL,         -- of the whole
    queries jsonb NOT NULL,          -- of each query
    failed integer NOT NULL
);

CREATE INDEX runs_of_set ON runs (set_id, id);
CREATE INDEX runs_of_tenant ON runs (tenant_id);

DO $$
DECLARE each text;
BEGIN
    FOREACH each IN ARRAY ARRAY[
        'searches', 'interactions', 'unrecorded', 'dirty_days', 'spans', 'query_days', 'refreshes', 'retentions',
        'forgotten_users', 'judged_sets', 'runs'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', each);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', each);
        EXECUTE format($policy$
            CREATE POLICY tenant ON %I TO quarry_${service}
                USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
            $policy$, each);
    END LOOP;
    -- A batch of the log holds many tenants' searches, and the operator may ask for figures of all of them.
    FOREACH each IN ARRAY ARRAY[
        'searches', 'interactions', 'unrecorded', 'dirty_days', 'spans', 'query_days', 'refreshes'
    ] LOOP
        EXECUTE format('CREATE POLICY oversee ON %I FOR SELECT TO quarry_${service}_worker USING (true)', each);
        EXECUTE format('GRANT SELECT ON %I TO quarry_${service}_worker', each);
    END LOOP;
    FOREACH each IN ARRAY ARRAY['searches', 'interactions', 'unrecorded', 'dirty_days'] LOOP
        EXECUTE format('CREATE POLICY take ON %I FOR INSERT TO quarry_${service}_worker WITH CHECK (true)', each);
        EXECUTE format('GRANT INSERT ON %I TO quarry_${service}_worker', each);
    END LOOP;
    FOREACH each IN ARRAY ARRAY['searches', 'interactions', 'unrecorded', 'spans', 'query_days', 'dirty_days'] LOOP
        EXECUTE format('CREATE POLICY expire ON %I FOR DELETE TO quarry_${service}_worker USING (true)', each);
        EXECUTE format('GRANT DELETE ON %I TO quarry_${service}_worker', each);
    END LOOP;
END $$;

CREATE POLICY mark ON dirty_days FOR UPDATE TO quarry_${service}_worker USING (true) WITH CHECK (true);
GRANT UPDATE (marks) ON dirty_days TO quarry_${service}_worker;
CREATE POLICY take ON forgotten_users FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON forgotten_users TO quarry_${service}_worker;
CREATE POLICY expire ON retentions FOR SELECT TO quarry_${service}_worker USING (true);
GRANT SELECT ON retentions TO quarry_${service}_worker;

-- The service owns no table, so it cannot make or drop partitions itself: these two functions do, and nothing else.
-- A partition is read and written through its parent alone.
CREATE FUNCTION add_day(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ${service}, pg_temp AS $$
DECLARE
    parent text;
    part text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('${service}.add_day'));
    FOREACH parent IN ARRAY ARRAY['searches', 'interactions'] LOOP
        part := parent || to_char(day, '_YYYYMMDD');
        CONTINUE WHEN to_regclass(format('${service}.%I', part)) IS NOT NULL;
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            part, parent, day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00'
        );
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO quarry_${service}
                USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
            part
        );
        EXECUTE format('REVOKE ALL ON %I FROM quarry_${service}, quarry_${service}_worker', part);
    END LOOP;
END $$;

CREATE FUNCTION drop_day(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ${service}, pg_temp AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS %I', 'searches' || to_char(day, '_YYYYMMDD'));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'interactions' || to_char(day, '_YYYYMMDD'));
END $$;

-- Days that there are partitions of.
CREATE FUNCTION days() RETURNS SETOF date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ${service}, pg_temp AS $$
    SELECT to_date(right(relname, 8), 'YYYYMMDD') FROM pg_inherits
    JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = '${service}.searches'::regclass
$$;

REVOKE ALL ON FUNCTION add_day(date), drop_day(date), days() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_day(date), drop_day(date), days() TO quarry_${service}_worker;
